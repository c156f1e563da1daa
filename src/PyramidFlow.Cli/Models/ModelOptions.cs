using System.CommandLine;
using System.Runtime.CompilerServices;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Models;

/// <summary>The options that choose a model and how it runs; the same for every command that runs one.</summary>
/// <param name="usualType">The default of <c>--dtype</c>, as the help says it.</param>
/// <param name="takesRuns">Whether models of training runs may take the place of those of the checkpoint; a service offers checkpoints by their names.</param>
internal sealed class ModelOptions(string usualType = "bf16 on a GPU, and on a CPU where weights are bf16 and products 1.5 times as fast in it; else fp32", bool takesRuns = true)
{
    private readonly Option<string?> model = CliOptions.Text("--model", "DIR|NAME", $"checkpoint folder, or a name that {About.Name} models list shows [default: {ModelCatalog.Default}]");
    private readonly Option<string?> variant = CliOptions.Text("--variant", "NAME", "transformer of the checkpoint: 384p, 768p or image [default: its first]");
    private readonly Option<string?> transformer = CliOptions.Text("--transformer", "RUN", "use the transformer of a run of train dit (its --out) in place of the checkpoint's");
    private readonly Option<string?> vae = CliOptions.Text("--vae", "RUN", "use the VAE of a run of train vae in place of the checkpoint's");
    private readonly Option<IReadOnlyList<LoraArgument>?> loras = CliOptions.Several("--lora", "FILE[:WEIGHT]",
        "add a LoRA (a file, or the folder of an adapter or of a run of train lora) to the transformer, counted WEIGHT times [default: 1]; may be given several times", LoraArgument.Parse);
    private readonly Option<string?> device = CliOptions.Text("--device", "NAME", "cpu, cuda or cuda:N [default: cpu]");
    private readonly Option<string?> type = CliOptions.Choice("--dtype", $"number type to compute in [default: {usualType}]", "fp32", "bf16", "fp16");
    private readonly Option<int?> threads = CliOptions.Whole("--threads", "N", "CPU threads; small models are denoised on one [default: all]", 1);
    private readonly Option<string?> parallel = CliOptions.Text("--parallel", "WAYS",
        "how several processes divide a video, such as guidance=2,timesteps=2, heads=4,decode=1 or guidance=2,heads=4,decode=all [default: what takes the least time by the measured speed of processes and network]");
    private readonly Option<int?> tile = CliOptions.Whole("--tile", "PIXELS", "decode and encode in tiles of this side, such as 256: less memory [default: whole frames]", 1);
    private readonly Option<double?> overlap = CliOptions.Number("--tile-overlap", "SHARE", "share of a tile that lies over the next, up to 0.5 [default: 0.25]", zero: false);
    private readonly Option<string?> offload = CliOptions.Choice("--offload", "when weights are in memory: always, one model at a time, one block at a time, or what fits [default: auto]",
        [.. OffloadNames.All]);
    private readonly Option<long?> maxMemory = CliOptions.Memory("--max-memory", "most memory to take: offload, tiles and what is done at a time follow from it");
    private readonly Option<bool> overlapDecoding = CliOptions.Flag("--overlap-decoding",
        "decode units while the next ones are denoised, if memory holds all models and the work of both");
    private readonly Option<long?> historyCache = CliOptions.Memory("--history-cache",
        "most memory for keys and values of history frames, which are kept from unit to unit and save their computation; 0 keeps none [default: what is free]", zero: true);
    private readonly Option<bool> noTextCache = CliOptions.Flag("--no-text-cache", "encode prompts that were encoded before anew, and keep none");

    public void AddTo(ExampledCommand command)
    {
        command.Group("Model", [model, variant, .. takesRuns ? [transformer, vae] : Array.Empty<Option>(), loras, device, type, threads, parallel]);
        command.Group("Memory", maxMemory, offload, tile, overlap, overlapDecoding, historyCache, noTextCache);
    }

    public ModelArguments Read(ParseResult parsed) => new()
    {
        Name = parsed.GetValue(model),
        Variant = parsed.GetValue(variant),
        Transformer = takesRuns ? parsed.GetValue(transformer) : null,
        Vae = takesRuns ? parsed.GetValue(vae) : null,
        Loras = parsed.GetValue(loras),
        Device = parsed.GetValue(device),
        Type = parsed.GetValue(type),
        Threads = parsed.GetValue(threads),
        Ways = ModelArguments.ParseWays(parsed.GetValue(parallel)),
        Tile = parsed.GetValue(tile),
        TileOverlap = parsed.GetValue(overlap),
        Offload = OffloadNames.Parse(parsed.GetValue(offload)),
        MaxMemory = parsed.GetValue(maxMemory),
        OverlapDecoding = parsed.GetValue(overlapDecoding),
        HistoryCache = parsed.GetValue(historyCache),
        NoTextCache = parsed.GetValue(noTextCache),
    };
}

/// <summary>Which model to use and how to run it, as typed.</summary>
internal sealed record ModelArguments
{
    /// <summary>Folder or name of the model; null is the default one.</summary>
    public string? Name { get; init; }

    public string? Variant { get; init; }

    /// <summary>Folder of a run whose transformer takes the place of the model's; null keeps that.</summary>
    public string? Transformer { get; init; }

    /// <summary>Folder of a run whose VAE takes the place of the model's; null keeps that.</summary>
    public string? Vae { get; init; }

    /// <summary>LoRAs to add to the transformer; null is none.</summary>
    public IReadOnlyList<LoraArgument>? Loras { get; init; }

    public string? Device { get; init; }

    public string? Type { get; init; }

    public int? Threads { get; init; }

    /// <summary>How several processes divide a video; null leaves it open.</summary>
    public ParallelWays? Ways { get; init; }

    /// <summary>The processes that make each video together; null is this one alone.</summary>
    public ProcessGroup? Group { get; init; }

    /// <summary>Speed of the processes and their connections; null where nothing follows from it.</summary>
    public GroupSpeed? Speed { get; init; }

    /// <summary>How many times as fast as in float32 products are in bfloat16 on the slowest of several processes; null measures it where it decides the type.</summary>
    public double? NarrowSpeedup { get; init; }

    /// <summary>Whether another process writes the files.</summary>
    public bool IsFollower => Group is { Rank: > 0 };

    /// <summary>Side of a tile of the VAE in pixels; null is whole frames.</summary>
    public int? Tile { get; init; }

    /// <summary>Share of a tile that overlaps its neighbour.</summary>
    public double? TileOverlap { get; init; }

    /// <summary>When weights are in memory.</summary>
    public Offload Offload { get; init; } = Offload.Auto;

    /// <summary>Most bytes a run may take; null is what the machine has.</summary>
    public long? MaxMemory { get; init; }

    /// <summary>Whether units are decoded while the next ones are sampled, if memory allows it.</summary>
    public bool OverlapDecoding { get; init; }

    /// <summary>Most bytes of the history cache; null is what is free.</summary>
    public long? HistoryCache { get; init; }

    /// <summary>Whether to bypass the cache of encoded prompts.</summary>
    public bool NoTextCache { get; init; }

    /// <summary>The checkpoint's folder, with the variant checked and with the models of runs; that there are LoRA files is checked too.</summary>
    public CheckpointFolder Open()
    {
        foreach (var lora in (Loras ?? []).Where(lora => !Directory.Exists(lora.Path)))
            OutputFile.CheckInput(lora.Path, "--lora takes a LoRA's safetensors file, or the folder of an adapter");
        var folder = CheckpointFolder.Open(ModelNames.Find(Name ?? ModelCatalog.Default));
        if (Variant is not null && !folder.Variants.Contains(Variant))
        {
            throw CommandFault.UnknownVariant(Name ?? ModelCatalog.Default, Variant, folder.Variants.Where(v => v.Length > 0));
        }

        return folder.With(Transformer, Vae, Variant);
    }

    /// <summary>Reads the value of <c>--parallel</c>; null where it is not given.</summary>
    /// <exception cref="UsageException">It names no ways.</exception>
    public static ParallelWays? ParseWays(string? text)
    {
        try
        {
            return text is null ? null : ParallelWays.Parse(text);
        }
        catch (FormatException e)
        {
            throw CommandFault.ParallelInvalid(text!, e);
        }
    }

    /// <summary>Options to load the pipeline with.</summary>
    public PipelineOptions Options() => new()
    {
        Variant = Variant,
        Transformer = Transformer,
        Vae = Vae,
        Loras = [.. (Loras ?? []).Select(lora => lora.Use)],
        Device = Device is null ? null : ParseDevice(Device),
        Type = NumberTypes.Parse(Type),
        NarrowSpeedup = NarrowSpeedup,
        Threads = Threads ?? Math.Max(1, Environment.ProcessorCount / (Group?.LocalSize ?? 1)),
        Parallel = Group is null ? null : new VideoParallel(Group) { Ways = Ways, Speed = Speed },
        Tiles = Tiles(),
        Offload = Offload,
        MaxMemory = MaxMemory,
        OverlapDecoding = OverlapDecoding,
        Sampler = new SamplerOptions { HistoryBytes = HistoryCache },
        TextCache = NoTextCache ? null : CacheFolder.Prompts,
    };

    private TileOptions? Tiles()
    {
        if (Tile is not { } side)
            return TileOverlap is null ? null : throw CommandFault.OverlapWithoutTile();
        var tiles = TileOverlap is { } overlap ? new TileOptions(side, overlap) : new TileOptions(side);
        tiles.Check(VideoLength.Scale);
        return tiles;
    }

    // Not inlined, so that only a run with a GPU touches libtorch before the weights do.
    [MethodImpl(MethodImplOptions.NoInlining)]
    internal static Device ParseDevice(string text)
    {
        try
        {
            var device = PyramidFlow.Torch.Device.Parse(text);
            return device.Type != DeviceType.Cuda || TorchRuntime.HasCuda
                ? device
                : throw CommandFault.NoGpu(text);
        }
        catch (FormatException e)
        {
            throw CommandFault.UnknownDevice(text, e);
        }
    }
}

/// <summary>A LoRA as typed: <c>FILE</c> or <c>FILE:WEIGHT</c>; the file may be the folder of an adapter.</summary>
internal sealed class LoraArgument(string path, double weight)
{
    private string? sha256;

    /// <summary>Its file or folder.</summary>
    public string Path { get; } = path.Length > 1 ? System.IO.Path.TrimEndingDirectorySeparator(path) : path;

    /// <summary>Its scale; 1 as trained.</summary>
    public double Weight => weight;

    /// <summary>The hash of <see cref="LoraPlace.Sha256"/>; a hash that could be computed is kept.</summary>
    public string Sha256 => sha256 ??= LoraPlace.Find(Path).Sha256();

    /// <summary>The LoRA in the terms of the library.</summary>
    public LoraUse Use => new(Path, Weight);

    /// <summary>Parses a typed LoRA. A colon may also be part of the file's name.</summary>
    /// <exception cref="FormatException">There is no name, or what follows the last colon is no number.</exception>
    public static LoraArgument Parse(string text)
    {
        var colon = text.LastIndexOf(':');
        if (colon < 0 || File.Exists(text) || Directory.Exists(text))
            return text.Length > 0 ? new LoraArgument(text, 1) : throw Fault();
        return colon > 0 && PlainNumber.TryReal(text[(colon + 1)..], out var weight)
            ? new LoraArgument(text[..colon], weight)
            : throw Fault(Values.Advice(text[(colon + 1)..]));

        static FormatException Fault(string? advice = null) => new(advice ?? "use a file, or a file and how much it counts, such as style.safetensors:0.8");
    }
}

/// <summary>Element types as users write them.</summary>
internal static class NumberTypes
{
    /// <summary>The type of <c>fp32</c>, <c>bf16</c> or <c>fp16</c>; null, the checkpoint's or the device's own, for any other name.</summary>
    public static ElementType? Parse(string? name) => name switch
    {
        "fp32" => ElementType.Float32,
        "bf16" => ElementType.BFloat16,
        "fp16" => ElementType.Float16,
        _ => null,
    };

    /// <summary>The type of a run and why, and how to have the other one: its first line.</summary>
    /// <param name="choice">The type.</param>
    /// <param name="asked">The type as typed; null where it was left open.</param>
    public static string Sentence(ElementTypeChoice choice, string? asked)
    {
        var other = choice.Type == ElementType.Float32 ? "--dtype bf16 for bfloat16" : "--dtype fp32 for float32";
        return asked is null ? $"{choice} ({other})" : choice.ToString();
    }
}

/// <summary>Ways to offload as users write them.</summary>
internal static class OffloadNames
{
    public static IReadOnlyList<string> All { get; } = [.. Enum.GetNames<Offload>().Select(name => name.ToLowerInvariant())];

    /// <summary>The way of a name of <see cref="All"/>; null is the default.</summary>
    public static Offload Parse(string? name) => name is null ? Offload.Auto : Enum.Parse<Offload>(name, ignoreCase: true);
}
