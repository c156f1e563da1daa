using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Generation;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>The <c>data</c> section of a training configuration: the items and how they are cropped.</summary>
public sealed record DataOptions
{
    /// <summary>
    /// Annotation files, folders with texts, or shards such as <c>clips-{000000..000099}.tar</c>, also at an address of HTTP; at least one. Paths are relative to the configuration file.
    /// </summary>
    [JsonConverter(typeof(OneOrMoreConverter))]
    public required IReadOnlyList<string> Annotations { get; set; }

    /// <summary>
    /// Sizes such as <c>640x384</c>, multiples of 8; an item uses the one with the nearest aspect ratio. Required for videos and images;
    /// for latents null accepts every size.
    /// </summary>
    public IReadOnlyList<string>? Sizes { get; set; }

    /// <summary>
    /// Lengths in frames, each 1 + a multiple of 8; an item uses the longest that fits. Required for videos; for latents
    /// null keeps the full length.
    /// </summary>
    public IReadOnlyList<int>? Frames { get; set; }

    /// <summary>Longest clip of latents in frames, 1 + a multiple of 8; longer latents are cut.</summary>
    public int MaxFrames { get; set; } = 121;

    /// <summary>Frame rate that videos are resampled to, above 0 and at most 240; null keeps the stored frames.</summary>
    public double? Fps { get; set; } = 24;

    /// <summary>Whether a clip may start anywhere in a longer video; otherwise it starts at the first frame.</summary>
    public bool RandomStart { get; set; } = true;

    /// <summary>Largest upscaling factor of an original, at least 1; smaller originals are bad items.</summary>
    public double MostEnlarged { get; set; } = 4;

    /// <summary>Share of the steps that train on images if there are images and videos; null uses their share of the items.</summary>
    public double? ImageShare { get; set; }

    /// <summary>Whether missing media, latents and features count as bad items instead of stopping the run.</summary>
    public bool SkipMissing { get; set; }

    /// <summary>Number of items that are decoded or read in parallel.</summary>
    public int Workers { get; set; } = 2;

    /// <summary>Number of steps to prefetch.</summary>
    public int Prefetch { get; set; } = 2;

    /// <summary>Identity of the VAE that latents must come from, and of the text encoders of features (<see cref="SourceModel"/>); null accepts any.</summary>
    internal (string? Vae, string? Text) Encoders { get; init; }

    /// <summary>How shards are read.</summary>
    internal ShardOptions Shards { get; init; } = new();

    /// <summary>Whether all annotation files, folders and shards are on this machine.</summary>
    internal bool AreThere => Annotations.All(source => ShardAddress.IsShard(source)
        ? ShardAddress.Expand(source).All(shard => shard.Remote is null && File.Exists(shard.Name))
        : Path.Exists(source));

    /// <summary>The largest items that the options allow, for data that is not there.</summary>
    /// <exception cref="TrainingException">There is no size, or a value is invalid.</exception>
    internal Bucket Largest()
    {
        Check();
        var buckets = (Sizes is { Count: > 0 } sizes ? sizes : throw TrainingFault.SizesMissing()).Select(Buckets.Size).ToList();
        var (width, height) = buckets.MaxBy(size => (long)size.Width * size.Height);
        return new Bucket(width, height, Frames is { Count: > 0 } frames ? frames.Max() : MaxFrames);
    }

    /// <summary>Resolves the paths of a configuration.</summary>
    /// <exception cref="TrainingException">A path is relative to the working folder.</exception>
    internal void Find(string config) => Annotations = [.. Annotations.Select(source => Find(config, source))];

    /// <summary>Resolves a path of a configuration; an address stays as it is.</summary>
    /// <inheritdoc cref="Find(string)"/>
    internal static string Find(string config, string source) => ShardAddress.IsRemote(source) ? source : ConfigPaths.File(config, "data.annotations", source);

    /// <exception cref="TrainingException">A value is invalid.</exception>
    internal void Check()
    {
        var fault =
            Annotations.Count == 0 ? TrainingFault.NoAnnotations()
            : Fps is { } fps && fps is not (> 0 and <= 240) ? TrainingFault.RateImpossible(fps)
            : !(MostEnlarged >= 1) ? TrainingFault.TooSmall(null, "data.most_enlarged", MostEnlarged, 1)
            : MaxFrames < 1 || VideoLength.Fitting(MaxFrames) != MaxFrames ? TrainingFault.LengthNotWhole("data.max_frames", MaxFrames, VideoLength.Scale)
            : Workers < 1 ? TrainingFault.TooSmall(null, "data.workers", Workers, 1)
            : Prefetch < 0 ? TrainingFault.TooSmall(null, "data.prefetch", Prefetch, 0)
            : null;
        if (fault is not null)
            throw fault;
    }
}

/// <summary>What a trainer reads of the captions.</summary>
public enum CaptionForm
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The texts, which training encodes.</summary>
    Text,

    /// <summary>The extracted features (<c>text_fea</c>).</summary>
    Features,
}

/// <summary>Reads a string or a list of strings.</summary>
internal sealed class OneOrMoreConverter : JsonConverter<IReadOnlyList<string>>
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return [reader.GetString()!];
        var all = new List<string>();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException(TrainingFault.NoTextNoList);
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            all.Add(reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException(TrainingFault.NoListOfTexts));
        return all;
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, IReadOnlyList<string> value, JsonSerializerOptions options)
    {
        writer.WriteStartArray();
        foreach (var text in value)
            writer.WriteStringValue(text);
        writer.WriteEndArray();
    }
}
