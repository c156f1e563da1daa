using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>How latents are made.</summary>
public sealed record LatentExtractionOptions
{
    /// <summary>Sizes such as <c>640x384</c>; an item goes to the one of nearest shape.</summary>
    public IReadOnlyList<string> Sizes { get; init; } = ["640x384"];

    /// <summary>Most frames of a clip, 1 + a multiple of 8; shorter videos give as many as fit.</summary>
    public int Frames { get; init; } = 121;

    /// <summary>Fewest frames of a video; shorter ones are bad items. By default one unit, 9.</summary>
    public int FewestFrames { get; init; } = 1 + VideoLength.Scale;

    /// <summary>Frames per second videos are brought to; null takes frames as stored.</summary>
    public double? Fps { get; init; } = 24;

    /// <summary>How many times an original may be enlarged.</summary>
    public double MostEnlarged { get; init; } = 4;

    /// <summary>Frames that are encoded at a time after the first, a multiple of 8: bounds the memory.</summary>
    public int Window { get; init; } = 16;

    /// <summary>Encodes in parts of the frames; null whole ones.</summary>
    public TileOptions? Tiles { get; init; }

    /// <summary>Whether latents are drawn from what the encoder gives, as released; else they are its means.</summary>
    public bool Sample { get; init; } = true;

    /// <summary>Seed of the draws; each item has draws of its own, whatever is encoded before it.</summary>
    public ulong Seed { get; init; }

    /// <summary>Element type of the files.</summary>
    public ElementType StoredType { get; init; } = ElementType.BFloat16;

    /// <summary>Items that are decoded at the same time, while another one is encoded.</summary>
    public int Workers { get; init; } = 2;

    /// <summary>What two files must agree in to be the same latents.</summary>
    internal string Identity(Bucket bucket) => FormattableString.Invariant(
        $"{bucket}, fps {Fps}, tiles {Tiles?.Size} {Tiles?.Overlap} {Tiles?.Blend}, {(Sample ? $"seed {Seed}" : "means")}, {StoredType}");

    /// <summary>All lengths a clip can have.</summary>
    internal IReadOnlyList<int> Lengths()
    {
        if (Frames < 1 || VideoLength.Fitting(Frames) != Frames)
            throw new DataException($"{Frames} frames cannot be encoded: use {VideoLength.Fitting(Math.Max(1, Frames))} or {VideoLength.Fitting(Math.Max(1, Frames)) + VideoLength.Scale}");
        var fewest = Math.Min(Frames, Math.Max(1, FewestFrames));
        return [.. Enumerable.Range(0, VideoLength.Latents(Frames)).Select(i => VideoLength.OfLatents(i + 1)).Where(length => length >= fewest)];
    }
}
