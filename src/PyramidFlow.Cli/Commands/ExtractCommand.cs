using System.CommandLine;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>extract</c>: what the encoders make of a data set, computed once before training.</summary>
internal static class ExtractCommand
{
    private const string Name = $"{About.Name} extract";
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
        command.SetAction((parsed, cancellationToken) => new ExtractRun(console).LatentsAsync(shared.Read(parsed), usual with
        {
            Frames = parsed.GetValue(frames) ?? usual.Frames,
            FewestFrames = parsed.GetValue(fewest) ?? usual.FewestFrames,
            Fps = parsed.GetValue(fps) is { } rate ? (rate > 0 ? rate : null) : usual.Fps,
            Window = parsed.GetValue(window) ?? usual.Window,
            Sample = !parsed.GetValue(means),
            Seed = parsed.GetValue(seed) ?? 0,
            Workers = parsed.GetValue(workers) ?? usual.Workers,
            StoredType = Stored(parsed, shared),
        }, parsed.GetValue(size), cancellationToken));
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
        command.SetAction((parsed, cancellationToken) => new ExtractRun(console).TextAsync(shared.Read(parsed), Stored(parsed, shared), parsed.GetValue(batch) ?? UsualBatch, cancellationToken));
        return command;
    }

    private static ElementType Stored(ParseResult parsed, ExtractOptions shared) => NumberTypes.Parse(parsed.GetValue(shared.Store)) ?? ElementType.BFloat16;
}

/// <summary>The default crop size of items.</summary>
internal static class ModelSize
{
    /// <summary>The size of the released 384p models.</summary>
    public const string Released = "640x384";

    /// <summary>The default video size of a model, such as <c>640x384</c>.</summary>
    public static string Of(CheckpointFolder folder, string? variant = null)
    {
        var settings = folder.Settings(variant);
        return FormattableString.Invariant($"{settings.Width}x{settings.Height}");
    }
}

/// <summary>The options that both extractions share.</summary>
/// <param name="kind">Suffix of the file names.</param>
internal sealed class ExtractOptions(string kind)
{
    public Argument<string> Annotations { get; } = new("ANNOTATIONS") { Description = "annotation file: on each line an object such as {\"video\": \"a.mp4\", \"text\": \"a red ball\"}; a folder such as one with clip.mp4 and clip.txt; or shards such as 'clips-{000000..000099}.tar'" };

    public Option<string?> Output { get; } = CliOptions.Text("--output", "FILE", $"annotation file to write [default: ANNOTATIONS-{kind}.jsonl]", "-o");

    public Option<string?> Folder { get; } = CliOptions.Text("--folder", "DIR", $"folder for the files [default: OUTPUT-{kind}]");

    public Option<(int Part, int Parts)?> Part { get; } = CliOptions.Part("--part", "one part of the items, for one of several machines or GPUs at once, such as 2/4");

    public Option<string?> Store { get; } = CliOptions.Choice("--store", "number type of the files [default: bf16]", "bf16", "fp16", "fp32");

    public ModelOptions Model { get; } = new("fp32 on a CPU, bf16 on a GPU");

    public ExtractArguments Read(ParseResult parsed) => new(parsed.GetRequiredValue(Annotations), parsed.GetValue(Output), parsed.GetValue(Folder),
        parsed.GetValue(Part), Model.Read(parsed));
}

/// <summary>The arguments that both extractions share.</summary>
/// <param name="Annotations">Annotation file.</param>
/// <param name="Output">New annotation file; null is named after the old one.</param>
/// <param name="Folder">Folder of the files; null is one beside the output.</param>
/// <param name="Part">Such as <c>2/4</c>; null is all.</param>
/// <param name="Model">Which model and how it runs.</param>
internal sealed record ExtractArguments(string Annotations, string? Output, string? Folder, (int Part, int Parts)? Part, ModelArguments Model)
{
    private const string Lines = ".jsonl", Json = ".json";

    /// <summary>Where to read and write, checked.</summary>
    /// <param name="kind">Suffix of the name of the annotation file.</param>
    public ExtractionTarget Target(string kind)
    {
        if (!ShardAddress.IsShard(Annotations))
            OutputFile.CheckInput(Annotations, "name an annotation file, JSON lines, a folder with texts, or shards", orFolder: true);
        var (source, isFolder) = (Path.TrimEndingDirectorySeparator(Annotations), Directory.Exists(Annotations));
        if (isFolder && Path.GetFileName(source) is "." or ".." or "")
            source = Path.TrimEndingDirectorySeparator(Path.GetFullPath(Annotations));
        var name = isFolder ? Path.GetFileName(source) : Path.GetFileNameWithoutExtension(source);
        if (ShardAddress.IsRemote(Annotations))
            source = name = Path.GetFileNameWithoutExtension(ShardAddress.Shown(Annotations));
        var output = Output ?? Path.Combine(Path.GetDirectoryName(source) ?? "", $"{name}-{kind}{Lines}");
        OutputFile.Check(output, Lines, Json);
        return new ExtractionTarget(Annotations, output, Folder, Part?.Part ?? 1, Part?.Parts ?? 1);
    }
}

/// <summary>One run of <c>extract latents</c> or <c>extract text</c>.</summary>
internal sealed class ExtractRun(CliConsole console)
{
    private const int MostWarnings = 3;

    /// <param name="arguments">Annotations to read, files to write, and the model.</param>
    /// <param name="options">Options of the extraction; its sizes are not used.</param>
    /// <param name="sizes">Sizes such as <c>640x384</c>; null is the model's own.</param>
    /// <param name="cancellationToken">Stops the run.</param>
    public async Task<int> LatentsAsync(ExtractArguments arguments, LatentExtractionOptions options, IReadOnlyList<string>? sizes, CancellationToken cancellationToken)
    {
        var target = arguments.Target("latents");
        // Faulty lines are reported before any weight is read.
        await AnnotationSource.ReadGoodAsync(target.Annotations, new FaultLog(), options.Shards, cancellationToken).ConfigureAwait(false);
        var (folder, type, device) = Open(arguments.Model);
        options = options with { Tiles = arguments.Model.Options().Tiles, Sizes = sizes ?? [ModelSize.Of(folder, arguments.Model.Variant)] };
        using var vae = CausalVideoVae.Load(folder.Vae, type, device);
        return await ReportedAsync(folder, target, (faults, progress) =>
            new LatentExtraction(vae, options, faults) { Encoder = SourceModel.OfVae(folder.Vae) }.RunAsync(target, progress, cancellationToken), cancellationToken).ConfigureAwait(false);
    }

    public async Task<int> TextAsync(ExtractArguments arguments, ElementType storedType, int batchSize, CancellationToken cancellationToken)
    {
        var target = arguments.Target("text");
        TextExtraction.Check(target);
        await AnnotationSource.ReadGoodAsync(target.Annotations, new FaultLog(), null, cancellationToken).ConfigureAwait(false);
        var (folder, type, device) = Open(arguments.Model);
        using var encoder = PromptEncoder.Load(folder, type, device);
        return await ReportedAsync(folder, target, (faults, progress) =>
            Task.Run(() => new TextExtraction(encoder, storedType, batchSize, faults) { Encoder = SourceModel.OfTexts(folder) }.Run(target, progress, cancellationToken), CancellationToken.None), cancellationToken).ConfigureAwait(false);
    }

    private static (CheckpointFolder Folder, ElementType Type, Device Device) Open(ModelArguments model)
    {
        var folder = model.Open();
        if (model.Threads is { } threads)
            TorchRuntime.Threads = threads;
        var device = model.Options().Device ?? Device.Cpu;
        // A training reads these files again and again, so that a CPU computes them exactly unless bfloat16 is asked for.
        return (folder, NumberTypes.Parse(model.Type) ?? (device.Type == DeviceType.Cpu ? ElementType.Float32 : ElementType.BFloat16), device);
    }

    private async Task<int> ReportedAsync(CheckpointFolder folder, ExtractionTarget target, Func<FaultLog, IProgress<ExtractionProgress>, Task<ExtractionResult>> run,
        CancellationToken cancellationToken)
    {
        var faults = new FaultLog();
        using var line = new ProgressLine(console);
        ExtractionResult result;
        try
        {
            result = await run(faults, new ExtractionLine(line)).ConfigureAwait(false);
        }
        catch (NonFiniteException e)
        {
            if (WeightFaults.Explain(folder, e, null, cancellationToken) is { } explanation)
                throw explanation;
            throw;
        }
        finally
        {
            line.Clear();
            foreach (var sentence in faults.Summary())
                console.Warn(sentence);
            ListLeftOut(target, faults);
        }

        foreach (var warning in result.Warnings.Take(MostWarnings))
            console.Warn(warning);
        if (result.Warnings.Count > MostWarnings)
            console.Warn($"and {result.Warnings.Count - MostWarnings} more of this kind");
        console.Note($"{result.Made} made, {result.Kept} were there" + (result.Lines is null
            ? $"; when all {target.Parts} parts are done, the same command without --part writes {target.Output}"
            : $", {result.Lines} lines{(faults.Faults.Count > 0 ? $", {faults.Faults.Count} left out" : "")}"));
        if (result.Lines is not null)
            console.Result(target.Output);
        return faults.Faults.Count > 0 ? ExitCode.LeftOut : ExitCode.Ok;
    }

    // What stopped an extraction says more than a list that cannot be written.
    private void ListLeftOut(ExtractionTarget target, FaultLog faults)
    {
        if (Path.GetFullPath(target.LeftOut) == Path.GetFullPath(target.Annotations))
            return;
        try
        {
            LeftOutFile.WriteOrExplain(target.LeftOut, [.. faults.Faults.Select(LeftOutItem.Of)]);
            if (faults.Faults.Count > 0)
                console.Warn($"all of them are in {target.LeftOut}");
        }
        catch (TrainingException e)
        {
            console.Warn(e.Message);
        }
    }
}

/// <summary>Shows the progress of an extraction.</summary>
internal sealed class ExtractionLine(ProgressLine line) : IProgress<ExtractionProgress>
{
    /// <inheritdoc/>
    public void Report(ExtractionProgress value) =>
        line.Update(value.Phase, $"{value.Done}/{value.Total}", value.Total > 0 ? (double)value.Done / value.Total : 1);
}
