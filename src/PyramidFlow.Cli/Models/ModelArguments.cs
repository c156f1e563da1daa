using System.Runtime.CompilerServices;
using PyramidFlow.Models;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Hub;
using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Models;

/// <summary>Which model to use and how to run it, as typed.</summary>
internal sealed record ModelArguments
{
    /// <summary>Folder or name of the model; null is the default one.</summary>
    public string? Name { get; init; }

    public string? Variant { get; init; }

    /// <summary>LoRAs to add to the transformer; null is none.</summary>
    public IReadOnlyList<LoraArgument>? Loras { get; init; }

    public string? Device { get; init; }

    public string? Type { get; init; }

    public int? Threads { get; init; }

    /// <summary>Side of a tile of the VAE in pixels; null is whole frames.</summary>
    public int? Tile { get; init; }

    /// <summary>Share of a tile that lies over its neighbour.</summary>
    public double? TileOverlap { get; init; }

    /// <summary>When weights are in memory.</summary>
    public Offload Offload { get; init; } = Offload.Auto;

    /// <summary>Most bytes a run may take; null is what the machine has.</summary>
    public long? MaxMemory { get; init; }

    /// <summary>Whether units are decoded while the next ones are sampled, if memory allows it.</summary>
    public bool OverlapDecoding { get; init; }

    /// <summary>Whether prompts are encoded anew, and none is kept.</summary>
    public bool NoTextCache { get; init; }

    /// <summary>The element type that is computed in.</summary>
    public string UsedType => Type ?? (Device is null or "cpu" ? "fp32" : "bf16");

    /// <summary>The checkpoint's folder, with the variant checked; that there are LoRA files is checked too.</summary>
    public CheckpointFolder Open()
    {
        foreach (var lora in (Loras ?? []).Where(lora => !Directory.Exists(lora.Path)))
            OutputFile.CheckInput(lora.Path, "--lora takes a LoRA's safetensors file, or the folder of an adapter");
        var folder = CheckpointFolder.Open(ModelNames.Find(Name ?? ModelCatalog.Default));
        if (Variant is not null && !folder.Variants.Contains(Variant))
        {
            var known = string.Join(", ", folder.Variants.Where(v => v.Length > 0));
            throw new UsageException($"{Name ?? ModelCatalog.Default} has no variant '{Variant}': {(known.Length > 0 ? $"use {known}" : "leave --variant out")}");
        }

        return folder;
    }

    /// <summary>How to load it.</summary>
    public PipelineOptions Options() => new()
    {
        Variant = Variant,
        Loras = [.. (Loras ?? []).Select(lora => lora.Use)],
        Device = Device is null ? null : ParseDevice(Device),
        Type = NumberTypes.Parse(Type),
        Threads = Threads ?? Environment.ProcessorCount,
        Tiles = Tiles(),
        Offload = Offload,
        MaxMemory = MaxMemory,
        OverlapDecoding = OverlapDecoding,
        TextCache = NoTextCache ? null : CacheFolder.Prompts,
    };

    private TileOptions? Tiles()
    {
        if (Tile is not { } side)
            return TileOverlap is null ? null : throw new UsageException("--tile-overlap is a share of a tile: name the tile's side too, such as --tile 256");
        var tiles = TileOverlap is { } overlap ? new TileOptions(side, overlap) : new TileOptions(side);
        try
        {
            tiles.Check(VideoLength.Scale);
            return tiles;
        }
        catch (ArgumentException e) when (UserFault.Is(e))
        {
            throw new UsageException(Faults.Sentence(e), e);
        }
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
                : throw new UsageException($"--device {text}: this libtorch sees no GPU; leave --device out, or run {CommandLine.Name} doctor");
        }
        catch (FormatException e)
        {
            throw new UsageException(e.Message, e);
        }
    }
}
