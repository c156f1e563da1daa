using System.CommandLine;
using PyramidFlow.Cli.Batches;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>generate</c>: text or an image to a video or a picture.</summary>
internal static class GenerateCommand
{
    public static Command Create(CliConsole console)
    {
        var prompt = new Argument<string>("PROMPT") { Description = "what is to be seen, in quotes", Arity = ArgumentArity.ZeroOrOne };
        var output = CliOptions.Text("--output", "FILE", "file to write: .mp4, .gif or .png [default: out.mp4, or the next free name]", "-o");
        var image = CliOptions.Text("--image", "FILE", "picture to start from (image to video); cut to the size of the video");
        var frames = CliOptions.Whole("--frames", "N", "frames: 1, 9, 17, ... [default: the model's; 1 for a .png]", 1);
        var seconds = CliOptions.Number("--seconds", "S", "length instead of --frames, rounded to frames the model can make", zero: false);
        var size = CliOptions.Size("--size", "size in pixels, such as 640x384 [default: the model's]");
        var steps = CliOptions.Steps("--steps", "denoising steps of the first frame in each stage [default: the model's]");
        var videoSteps = CliOptions.Steps("--video-steps", "denoising steps of each later unit in each stage");
        var guidance = CliOptions.Number("--guidance", "SCALE", "how closely the first frame follows the prompt; 0 is off", zero: true);
        var videoGuidance = CliOptions.Number("--video-guidance", "SCALE", "the same for the later frames", zero: true);
        var negative = CliOptions.Text("--negative", "TEXT", "what is not to be seen");
        var suffix = CliOptions.Text("--suffix", "TEXT", "text put after the prompt; \"\" for none");
        var seed = CliOptions.Seed("--seed", "the same seed makes the same video [default: random, and printed]");
        var linear = CliOptions.LinearGuidance("--linear-guidance", "guidance falls by ALPHA with each unit, to MIN at least [default: off; 0.5,2 when named without values]", (0.5, 2));
        var framesPerUnit = CliOptions.Whole("--frames-per-unit", "N", "latent frames made at once, 8 frames of video each [default: 1]", 1);
        var sampleImage = CliOptions.Flag("--sample-image", "draw the picture's latents as the released code does, and do not take their mean");
        var count = CliOptions.Whole("--count", "N", "clips of each prompt, with seeds one after another: out-1.mp4, out-2.mp4, ...", 1);
        var batch = CliOptions.Text("--batch", "FILE", "make every prompt of a .txt, .jsonl or .json file; -o names a folder, finished files are left alone");
        var like = CliOptions.Text("--like", "FILE", "make a file again with the settings noted in it; other options override them");
        var json = CliOptions.Flag("--json", "print one JSON object about what was made");
        var model = new ModelOptions();
        var command = new ExampledCommand("generate", "Makes a video or a picture from a prompt, an image or both.",
            $"{CommandLine.Name} generate \"a small red circle moving right on a black background\" -o red.mp4",
            $"{CommandLine.Name} generate \"a large white star on a navy background\" -o star.png --seed 7",
            $"{CommandLine.Name} generate \"the ball slides to the left\" --image ball.jpg --seconds 1 -o ball.mp4",
            $"{CommandLine.Name} generate --like red.mp4 --seconds 4 -o longer.mp4",
            $"{CommandLine.Name} generate --batch prompts.txt -o clips",
            $"{CommandLine.Name} generate \"a red panda eating bamboo\" --model ./pyramid-flow-miniflux --variant 768p --device cuda")
        {
            prompt, output, image,
        };
        command.Group("Length and size", frames, seconds, size);
        command.Group("What it shows", seed, negative, suffix, guidance, videoGuidance, linear);
        command.Group("Several clips", count, batch, like, json);
        command.Group("Sampling", steps, videoSteps, framesPerUnit, sampleImage);
        model.AddTo(command);
        command.SetAction((parsed, cancel) =>
        {
            var arguments = new GenerateArguments
            {
                Clip = new ClipArguments
                {
                    Prompt = parsed.GetValue(prompt),
                    Image = parsed.GetValue(image),
                    Frames = parsed.GetValue(frames),
                    Seconds = parsed.GetValue(seconds),
                    Size = parsed.GetValue(size),
                    Steps = parsed.GetValue(steps),
                    VideoSteps = parsed.GetValue(videoSteps),
                    Guidance = parsed.GetValue(guidance),
                    VideoGuidance = parsed.GetValue(videoGuidance),
                    LinearGuidance = parsed.GetValue(linear),
                    FramesPerUnit = parsed.GetValue(framesPerUnit),
                    SampleImage = parsed.GetValue(sampleImage) ? true : null,
                    Negative = parsed.GetValue(negative),
                    Suffix = parsed.GetValue(suffix),
                    Seed = parsed.GetValue(seed),
                },
                Model = model.Read(parsed),
                Output = parsed.GetValue(output),
                Count = parsed.GetValue(count) ?? 1,
                Batch = parsed.GetValue(batch),
                Like = parsed.GetValue(like),
                Json = parsed.GetValue(json),
                Verbose = parsed.GetValue<bool>(CliOptions.Verbose),
            };
            arguments.Check();
            return arguments.Batch is null ? new GenerateRun(console).RunAsync(arguments, cancel) : new BatchRun(console).RunAsync(arguments, cancel);
        });
        return command;
    }
}
