using System.CommandLine;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Cli.Planning;
using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>plan</c>: what a video will take before it is made.</summary>
internal static class PlanCommand
{
    private const string Name = $"{CommandLine.Name} plan";

    public static Command Create(CliConsole console)
    {
        var model = new ModelOptions();
        var settings = new SettingOptions(extends: false, "frames", "seconds", "size", "guidance", "video_guidance", "linear_guidance", "steps", "video_steps",
            "frames_per_unit", "history", "reuse_prefix", "guidance_every", "solver");
        var speed = CliOptions.Number("--speed", "GFLOPS", "speed to reckon with, in 10^9 operations a second [default: measured for a second]", zero: false);
        var json = CliOptions.Flag("--json", "print one JSON object instead of tables, units and stages counted from 0");
        var command = new ExampledCommand("plan", "Says how many operations, how much memory and about how much time a video takes; needs no weights.",
            $"{Name} --seconds 2", $"{Name} --model pyramid-flow-miniflux --variant 768p --seconds 10 --dtype bf16", $"{Name} --model pyramid-flow-sd3 --dtype bf16 --max-memory 8GB --json")
        {
            json,
        };
        command.Group("Length and size", settings.Of(SettingGroup.Size));
        command.Group("Guidance", settings.Of(SettingGroup.Content));
        settings.AddSamplingTo(command);
        model.AddTo(command);
        command.Group("Machine", speed);
        command.SetAction((parsed, cancel) =>
        {
            var clip = settings.Read(parsed, new ClipArguments { Prompt = "plan" });
            // One scale that is off saves the work of both.
            clip = clip with { VideoGuidance = clip.VideoGuidance ?? clip.Guidance };
            PlanRun.Run(clip, model.Read(parsed), parsed.GetValue(speed), parsed.GetValue(json), console, cancel);
            return Task.FromResult(ExitCode.Ok);
        });
        return command;
    }
}
