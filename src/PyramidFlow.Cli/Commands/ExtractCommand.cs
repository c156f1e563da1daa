using System.CommandLine;
using PyramidFlow.Cli.Datasets;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>extract</c>: what the encoders make of a data set, computed once before training.</summary>
internal static class ExtractCommand
{
    private const string Name = $"{CommandLine.Name} extract";
    private const int UsualBatch = 8;

    public static Command Create(CliConsole console) => new ExampledCommand("extract",
        "Makes latents and text features of a data set, so that training need not.",
        $"{Name} latents data.jsonl --model ./pyramid-flow-miniflux -o latents.jsonl",
        $"{Name} text latents.jsonl --model ./pyramid-flow-miniflux -o train.jsonl")
    {
        Latents(console), Text(console),
    };

    private static ExampledCommand Latents(CliConsole console)
    {
        var shared = new ExtractOptions("latents");
        var usual = new LatentExtractionOptions();
        var size = CliOptions.Sizes("--size", "sizes in pixels; each item goes to the one of nearest shape [default: the model's own]");
        var frames = CliOptions.Whole("--frames", "N", $"most frames of a clip, 1 + a multiple of 8 [default: {usual.Frames}]", 1);
        var fewest = CliOptions.Whole("--fewest-frames", "N", $"videos with fewer are left out and named [default: {usual.FewestFrames}]", 1);
        var fps = CliOptions.Number("--fps", "RATE", "frames per second videos are brought to; 0 takes frames as stored [default: 24]", zero: true);
        var window = CliOptions.Whole("--window", "N", $"frames encoded at a time, a multiple of 8: less memory, same latents [default: {usual.Window}]", 1);
        var means = CliOptions.Flag("--means", "the encoder's means instead of draws around them");
        var seed = CliOptions.Seed("--seed", "seed of the draws [default: 0]");
        var workers = CliOptions.Whole("--workers", "N", $"videos decoded at a time [default: {usual.Workers}]", 1);
        var command = new ExampledCommand("latents", "Encodes videos and images with a model's VAE. What is finished is left alone: the same command goes on where it stopped.",
            $"{Name} latents data.jsonl --model ./pyramid-flow-miniflux --size 640x384,384x640 --frames 121 -o latents.jsonl",
            $"{Name} latents data.jsonl --model ./pyramid-flow-miniflux --device cuda:1 --part 2/4 -o latents.jsonl")
        {
            shared.Annotations, shared.Output, shared.Folder, size, frames, fewest, fps, window, means, seed, workers, shared.Part, shared.Store,
        };
        shared.Model.AddTo(command);
        command.SetAction((parsed, cancel) => new ExtractRun(console).LatentsAsync(shared.Read(parsed), usual with
        {
            Frames = parsed.GetValue(frames) ?? usual.Frames,
            FewestFrames = parsed.GetValue(fewest) ?? usual.FewestFrames,
            Fps = parsed.GetValue(fps) is { } rate ? (rate > 0 ? rate : null) : usual.Fps,
            Window = parsed.GetValue(window) ?? usual.Window,
            Sample = !parsed.GetValue(means),
            Seed = parsed.GetValue(seed) ?? 0,
            Workers = parsed.GetValue(workers) ?? usual.Workers,
            StoredType = Stored(parsed, shared),
        }, parsed.GetValue(size), cancel));
        return command;
    }

    private static ExampledCommand Text(CliConsole console)
    {
        var shared = new ExtractOptions("text");
        var batch = CliOptions.Whole("--batch-size", "N", $"captions encoded together [default: {UsualBatch}]", 1);
        var command = new ExampledCommand("text", "Encodes captions with a model's text encoders; equal captions share a file. What is finished is left alone.",
            $"{Name} text latents.jsonl --model ./pyramid-flow-miniflux -o train.jsonl")
        {
            shared.Annotations, shared.Output, shared.Folder, batch, shared.Part, shared.Store,
        };
        shared.Model.AddTo(command);
        command.SetAction((parsed, cancel) => new ExtractRun(console).TextAsync(shared.Read(parsed), Stored(parsed, shared), parsed.GetValue(batch) ?? UsualBatch, cancel));
        return command;
    }

    private static ElementType Stored(ParseResult parsed, ExtractOptions shared) => NumberTypes.Parse(parsed.GetValue(shared.Store)) ?? ElementType.BFloat16;
}
