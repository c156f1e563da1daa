using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Generation;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Data;

/// <summary>The <c>data</c> section of a training configuration: which items there are and how they are cut.</summary>
public sealed record DataOptions
{
    /// <summary>Annotation files, one or more; in a configuration seen from its folder.</summary>
    [JsonConverter(typeof(OneOrMoreConverter))]
    public required IReadOnlyList<string> Annotations { get; set; }

    /// <summary>
    /// Sizes such as <c>640x384</c>, multiples of 8; an item goes to the one of nearest shape. Needed for videos and images;
    /// for latents null takes every size there is.
    /// </summary>
    public IReadOnlyList<string>? Sizes { get; set; }

    /// <summary>
    /// Lengths in frames, each 1 + a multiple of 8; an item goes to the longest that fits. Needed for videos; for latents
    /// null takes each as long as it is.
    /// </summary>
    public IReadOnlyList<int>? Frames { get; set; }

    /// <summary>Frames after which latents are cut, 1 + a multiple of 8.</summary>
    public int MaxFrames { get; set; } = 121;

    /// <summary>Frames per second videos are brought to, above 0 and at most 240; null takes frames as stored.</summary>
    public double? Fps { get; set; } = 24;

    /// <summary>Whether a clip may start anywhere in a longer video; else at its first frame.</summary>
    public bool RandomStart { get; set; } = true;

    /// <summary>How many times an original may be enlarged; smaller ones are bad items. At least 1.</summary>
    public double MostEnlarged { get; set; } = 4;

    /// <summary>Share of the steps that train on images, where there are images and videos; null goes by their number.</summary>
    public double? ImageShare { get; set; }

    /// <summary>Whether missing media, latents and features are counted as bad items and not a reason to stop.</summary>
    public bool SkipMissing { get; set; }

    /// <summary>Items that are decoded or read at the same time.</summary>
    public int Workers { get; set; } = 2;

    /// <summary>Steps that are read ahead.</summary>
    public int Prefetch { get; set; } = 2;

    /// <summary>Finds the files of a configuration.</summary>
    /// <exception cref="ArgumentException">One is meant from the working folder.</exception>
    internal void Find(string config) => Annotations = [.. Annotations.Select(path => ConfigPaths.File(config, "data.annotations", path))];

    /// <exception cref="DataException">A value is impossible.</exception>
    internal void Check()
    {
        var fault =
            Annotations.Count == 0 ? "annotations is empty: name at least one file"
            : Fps is { } fps && fps is not (> 0 and <= 240) ? FormattableString.Invariant($"fps {fps} is impossible: use 1 to 240, or null for the frames as stored")
            : !(MostEnlarged >= 1) ? FormattableString.Invariant($"most_enlarged {MostEnlarged} is less than 1")
            : MaxFrames < 1 || VideoLength.Fitting(MaxFrames) != MaxFrames ? $"max_frames {MaxFrames} is not 1 + a multiple of {VideoLength.Scale}"
            : Workers < 1 ? $"workers {Workers} is less than 1"
            : Prefetch < 0 ? $"prefetch {Prefetch} is less than 0"
            : null;
        if (fault is not null)
            throw new DataException($"data: {fault}");
    }
}

/// <summary>What a trainer reads of the captions.</summary>
public enum CaptionForm
{
    /// <summary>Nothing.</summary>
    None,

    /// <summary>The texts, to be encoded in training.</summary>
    Text,

    /// <summary>The features that were made of them before (<c>text_fea</c>).</summary>
    Features,
}

/// <summary>A text, or a list of texts.</summary>
internal sealed class OneOrMoreConverter : JsonConverter<IReadOnlyList<string>>
{
    /// <inheritdoc/>
    public override IReadOnlyList<string> Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        if (reader.TokenType == JsonTokenType.String)
            return [reader.GetString()!];
        var all = new List<string>();
        if (reader.TokenType != JsonTokenType.StartArray)
            throw new JsonException("use a text, or a list of texts");
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            all.Add(reader.TokenType == JsonTokenType.String ? reader.GetString()! : throw new JsonException("use a list of texts"));
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
