using System.CommandLine;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Planning;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>plan</c>: what a video will take before it is made.</summary>
internal static class PlanCommand
{
    private const string Name = $"{CommandLine.Name} plan";

    public static Command Create(CliConsole console)
    {
        var model = new ModelOptions();
        var frames = CliOptions.Whole("--frames", "N", "frames: 1, 9, 17, ... [default: the model's]", 1);
        var seconds = CliOptions.Number("--seconds", "S", "length instead of --frames", zero: false);
        var size = CliOptions.Size("--size", "size in pixels, such as 640x384 [default: the model's]");
        var steps = CliOptions.Steps("--steps", "denoising steps of the first frame in each stage [default: the model's]");
        var videoSteps = CliOptions.Steps("--video-steps", "denoising steps of each later unit in each stage");
        var guidance = CliOptions.Number("--guidance", "SCALE", "0 is off, which halves the work [default: the model's]", zero: true);
        var approximations = new ApproximationOptions();
        var speed = CliOptions.Number("--speed", "GFLOPS", "speed to reckon with, in 10^9 operations a second [default: measured for a second]", zero: false);
        var json = CliOptions.Flag("--json", "print one JSON object instead of tables, units and stages counted from 0");
        var command = new ExampledCommand("plan", "Says how many operations, how much memory and about how much time a video takes; needs no weights.",
            $"{Name} --seconds 2", $"{Name} --model pyramid-flow-miniflux --variant 768p --seconds 10 --dtype bf16", $"{Name} --model pyramid-flow-sd3 --dtype bf16 --max-memory 8GB --json")
        {
            json,
        };
        command.Group("What to make", frames, seconds, size, steps, videoSteps, guidance);
        approximations.AddTo(command);
        model.AddTo(command);
        command.Group("Machine", speed);
        command.SetAction((parsed, cancel) =>
        {
            var clip = approximations.Read(parsed, new ClipArguments
            {
                Prompt = "plan",
                Frames = parsed.GetValue(frames),
                Seconds = parsed.GetValue(seconds),
                Size = parsed.GetValue(size),
                Steps = parsed.GetValue(steps),
                VideoSteps = parsed.GetValue(videoSteps),
                Guidance = parsed.GetValue(guidance),
                VideoGuidance = parsed.GetValue(guidance),
            });
            PlanRun.Run(clip, model.Read(parsed), parsed.GetValue(speed), parsed.GetValue(json), console, cancel);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }
}
