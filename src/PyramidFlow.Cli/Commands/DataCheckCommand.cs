using System.CommandLine;
using PyramidFlow.Cli.Datasets;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Generation;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>data check</c>: a report and a contact sheet of a data set.</summary>
internal static class DataCheckCommand
{
    private const int UsualCount = 12, UsualFrames = 121, UsualWorkers = 2;

    public static Command Create(CliConsole console)
    {
        var annotations = new Argument<string[]>("ANNOTATIONS") { Description = "annotation files, JSON lines", Arity = ArgumentArity.OneOrMore };
        var size = CliOptions.Sizes("--size", $"sizes in pixels; each item goes to the one of nearest shape [default: that of --model, or {ModelSize.Released}]");
        var frames = CliOptions.Lengths("--frames", $"lengths of clips; each video goes to the longest that fits [default: every length up to {UsualFrames}]");
        var fps = CliOptions.Number("--fps", "RATE", "frames per second videos are brought to; 0 takes frames as stored [default: 24]", zero: true);
        var decode = CliOptions.Flag("--decode", "decode every clip and read all latents, not only their headers");
        var model = CliOptions.Text("--model", "DIR|NAME", "checkpoint whose tokenizer counts the captions' tokens, and whose VAE the latents are of, which decodes them for the sheet");
        var output = CliOptions.Text("--output", "FILE", "contact sheet to write, .png", "-o");
        var count = CliOptions.Whole("--count", "N", $"clips on the sheet [default: {UsualCount}]", 1, 200);
        var workers = CliOptions.Whole("--workers", "N", $"files looked at at a time [default: {UsualWorkers}]", 1);
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var command = new ExampledCommand("check", "Looks a data set over: buckets, lengths, captions, and what is wrong with which line. The exit code is 1 when there is a fault.",
            $"{CommandLine.Name} data check data.jsonl -o sheet.png",
            $"{CommandLine.Name} data check train.jsonl --size 640x384,384x640 --frames 49,121 --model ./pyramid-flow-miniflux --decode --json")
        {
            annotations, size, frames, fps, decode, model, output, count, workers, json,
        };
        command.SetAction((parsed, cancel) =>
        {
            var options = new DataOptions
            {
                Annotations = parsed.GetRequiredValue(annotations),
                Sizes = parsed.GetValue(size),
                Frames = parsed.GetValue(frames) ?? [.. Enumerable.Range(2, VideoLength.Latents(UsualFrames) - 1).Select(VideoLength.OfLatents)],
                Fps = parsed.GetValue(fps) is { } rate ? (rate > 0 ? rate : null) : 24,
                Workers = parsed.GetValue(workers) ?? UsualWorkers,
            };
            return new DataCheckRun(console).RunAsync(options, parsed.GetValue(model), parsed.GetValue(decode), parsed.GetValue(output),
                parsed.GetValue(count) ?? UsualCount, parsed.GetValue(json), cancel);
        });
        return command;
    }
}
