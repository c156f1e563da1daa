using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Datasets;

/// <summary>One run of <c>extract latents</c> or <c>extract text</c>.</summary>
internal sealed class ExtractRun(CliConsole console)
{
    private const int MostWarnings = 3;

    /// <param name="arguments">Annotations to read, files to write, and the model.</param>
    /// <param name="options">How; its sizes are not used.</param>
    /// <param name="sizes">Sizes such as <c>640x384</c>; null is the model's own.</param>
    /// <param name="cancel">Stops it.</param>
    public async Task<int> LatentsAsync(ExtractArguments arguments, LatentExtractionOptions options, IReadOnlyList<string>? sizes, CancellationToken cancel)
    {
        var target = arguments.Target("latents");
        // What is wrong with the lines shows before any weight is read.
        AnnotationFile.ReadGood(target.Annotations, new FaultLog());
        var (folder, type, device) = Open(arguments.Model);
        options = options with { Tiles = arguments.Model.Options().Tiles, Sizes = sizes ?? [ModelSize.Of(folder, arguments.Model.Variant)] };
        using var vae = CausalVideoVae.Load(folder.Vae, type, device);
        return await ReportedAsync(folder, target, (faults, progress) =>
            new LatentExtraction(vae, options, faults).RunAsync(target, progress, cancel), cancel).ConfigureAwait(false);
    }

    public async Task<int> TextAsync(ExtractArguments arguments, ElementType storedType, int batchSize, CancellationToken cancel)
    {
        var target = arguments.Target("text");
        AnnotationFile.ReadGood(target.Annotations, new FaultLog());
        var (folder, type, device) = Open(arguments.Model);
        using var encoder = PromptEncoder.Load(folder, type, device);
        return await ReportedAsync(folder, target, (faults, progress) =>
            Task.Run(() => new TextExtraction(encoder, storedType, batchSize, faults).Run(target, progress, cancel), CancellationToken.None), cancel).ConfigureAwait(false);
    }

    private static (CheckpointFolder Folder, ElementType Type, Device Device) Open(ModelArguments model)
    {
        var folder = model.Open();
        if (model.Threads is { } threads)
            TorchRuntime.Threads = threads;
        return (folder, NumberTypes.Parse(model.UsedType)!.Value, model.Options().Device ?? Device.Cpu);
    }

    private async Task<int> ReportedAsync(CheckpointFolder folder, ExtractionTarget target, Func<FaultLog, IProgress<ExtractionProgress>, Task<ExtractionResult>> run,
        CancellationToken cancel)
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
            if (WeightFaults.Explain(folder, e, cancellationToken: cancel) is { } explanation)
                throw explanation;
            throw;
        }
        finally
        {
            line.Clear();
            foreach (var sentence in faults.Summary())
                console.Warn(sentence);
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
        return ExitCode.Ok;
    }
}
