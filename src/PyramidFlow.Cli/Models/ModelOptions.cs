using System.CommandLine;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Hub;

namespace PyramidFlow.Cli.Models;

/// <summary>The options that choose a model and how it runs; the same for every command that runs one.</summary>
internal sealed class ModelOptions
{
    private readonly Option<string?> model = CliOptions.Text("--model", "DIR|NAME", $"checkpoint folder, or a name that {CommandLine.Name} models list shows [default: {ModelCatalog.Default}]");
    private readonly Option<string?> variant = CliOptions.Text("--variant", "NAME", "transformer of the checkpoint: 384p, 768p or image [default: its first]");
    private readonly Option<IReadOnlyList<LoraArgument>?> loras = CliOptions.Several("--lora", "FILE[:WEIGHT]",
        "add a LoRA (a file, or the folder of an adapter) to the transformer, counted WEIGHT times [default: 1]; may be given several times", LoraArgument.Parse);
    private readonly Option<string?> device = CliOptions.Text("--device", "NAME", "cpu, cuda or cuda:N [default: cpu]");
    private readonly Option<string?> type = CliOptions.Choice("--dtype", "number type to compute in [default: fp32 on a CPU, bf16 on a GPU]", "fp32", "bf16", "fp16");
    private readonly Option<int?> threads = CliOptions.Whole("--threads", "N", "CPU threads; small models are denoised on one [default: all]", 1);
    private readonly Option<int?> tile = CliOptions.Whole("--tile", "PIXELS", "decode and encode in tiles of this side, such as 256: less memory [default: whole frames]", 1);
    private readonly Option<double?> overlap = CliOptions.Number("--tile-overlap", "SHARE", "share of a tile that lies over the next, up to 0.5 [default: 0.25]", zero: false);
    private readonly Option<string?> offload = CliOptions.Choice("--offload", "when weights are in memory: always, one model at a time, one block at a time, or what fits [default: auto]",
        [.. OffloadNames.All]);
    private readonly Option<long?> maxMemory = CliOptions.Memory("--max-memory", "most memory to take: offload, tiles and what is done at a time follow from it");
    private readonly Option<bool> overlapDecoding = CliOptions.Flag("--overlap-decoding",
        "decode units while the next ones are denoised, if memory holds all models and the work of both");
    private readonly Option<bool> noTextCache = CliOptions.Flag("--no-text-cache", "encode prompts that were encoded before anew, and keep none");

    public void AddTo(ExampledCommand command)
    {
        command.Group("Model", model, variant, loras, device, type, threads);
        command.Group("Memory", maxMemory, offload, tile, overlap, overlapDecoding, noTextCache);
    }

    public ModelArguments Read(ParseResult parsed) => new()
    {
        Name = parsed.GetValue(model),
        Variant = parsed.GetValue(variant),
        Loras = parsed.GetValue(loras),
        Device = parsed.GetValue(device),
        Type = parsed.GetValue(type),
        Threads = parsed.GetValue(threads),
        Tile = parsed.GetValue(tile),
        TileOverlap = parsed.GetValue(overlap),
        Offload = OffloadNames.Parse(parsed.GetValue(offload)),
        MaxMemory = parsed.GetValue(maxMemory),
        OverlapDecoding = parsed.GetValue(overlapDecoding),
        NoTextCache = parsed.GetValue(noTextCache),
    };
}
