using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Lora;

/// <summary>
/// The scale of a LoRA as stored by its trainer: in peft's <c>adapter_config.json</c>, or in the file's metadata under diffusers'
/// <c>lora_adapter_metadata</c>. Both are a JSON object with <c>r</c>, <c>lora_alpha</c>, <c>use_rslora</c> and, for single layers,
/// <c>alpha_pattern</c> and <c>rank_pattern</c>; diffusers prepends <c>transformer.</c> to each key.
/// </summary>
internal sealed class LoraMetadata
{
    private const string Key = "lora_adapter_metadata", Prefix = "transformer.", Alpha = "lora_alpha", Rank = "r",
        AlphaPatterns = "alpha_pattern", RankPatterns = "rank_pattern", RootScale = "use_rslora";

    // Default of peft.
    private const double PeftAlpha = 8;

    private const int MaxPatterns = 4096, MaxPatternLength = 512;
    private const long MaxConfigBytes = 1 << 20;

    // Initialisations that change the base weights before training.
    private static readonly string[] Rebasing = ["pissa", "olora", "corda", "loftq"];

    private readonly string name;
    private double? alpha;
    private double? rank;
    private bool isRoot;
    private List<(Regex Layer, double Value)> alphas = [], ranks = [];

    private LoraMetadata(string name) => this.name = name;

    /// <summary>Metadata of a file whose matrices include the scale: alpha equals the rank.</summary>
    internal static Dictionary<string, string> For(LoraConfig config) => new()
    {
        ["format"] = "pt",
        [Key] = new JsonObject
        {
            [Prefix + Rank] = config.Rank,
            [Prefix + Alpha] = config.Rank,
            [Prefix + "target_modules"] = new JsonArray([.. config.Targets.Select(target => JsonValue.Create(target))]),
        }.ToJsonString(),
    };

    /// <summary>Reads the metadata of a LoRA from its file, else from the settings beside it; otherwise the scale is 1.</summary>
    /// <exception cref="CheckpointException">The metadata is damaged, has a non-finite value, or describes another kind of adapter.</exception>
    internal static LoraMetadata Read(LoraPlace place)
    {
        if (Path.GetExtension(place.File).Equals(".safetensors", StringComparison.OrdinalIgnoreCase))
        {
            using var file = SafetensorsFile.Open(place.File);
            // Other programs use the same key for plain text.
            if (file.Metadata.TryGetValue(Key, out var text) && text.TrimStart().StartsWith('{'))
                return Parse($"{place.File}: {Key}", () => StrictJson.Parse(text, new StrictJsonOptions(RepeatedKeys: true)), Prefix);
        }

        if (place.Config is not { } config)
            return new LoraMetadata(place.File);
        var settings = Parse(config, () => StrictJson.Parse(StrictText.ReadBytes(config, MaxConfigBytes), new StrictJsonOptions(RepeatedKeys: true)), "");
        settings.alpha ??= PeftAlpha;
        return settings;
    }

    /// <summary>Scale of the product of a layer's matrices.</summary>
    /// <param name="layer">Key of the layer.</param>
    /// <param name="rows">Rank of its matrices.</param>
    /// <exception cref="CheckpointException">The settings belong to another LoRA.</exception>
    internal double Scale(string layer, long rows)
    {
        if ((Match(ranks, layer) ?? rank) is { } noted && noted != rows)
            throw CheckpointFault.LoraRankDiffers(name, noted, layer, rows);
        return (Match(alphas, layer) ?? alpha ?? rows) / (isRoot ? Math.Sqrt(rows) : rows);
    }

    private static LoraMetadata Parse(string name, Func<JsonDocument> read, string prefix)
    {
        try
        {
            using var document = read();
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                throw new MalformedTextException(0, "this is not an object in braces");
            return new LoraMetadata(name).Take(document.RootElement, prefix);
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.LoraSettings(name, e.Message, e.Key, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw CheckpointFault.Unreadable(name, e);
        }
    }

    private LoraMetadata Take(JsonElement json, string prefix)
    {
        if (Find(json, prefix + "peft_type") is { ValueKind: JsonValueKind.String } kind && kind.GetString() is var type && type != "LORA")
            throw new MalformedTextException(0, $"{prefix}peft_type is {type}: only a LORA is read here", prefix + "peft_type");
        if (Flag(json, prefix + "use_dora"))
            throw new MalformedTextException(0, $"{prefix}use_dora is true: a DoRA is not read here, only a plain LoRA", prefix + "use_dora");
        if (Find(json, prefix + "init_lora_weights") is { ValueKind: JsonValueKind.String } start
            && Rebasing.FirstOrDefault(way => start.GetString()!.StartsWith(way, StringComparison.OrdinalIgnoreCase)) is { } rebasing)
        {
            throw new MalformedTextException(0, $"{prefix}init_lora_weights is {rebasing}, which changes the weights below the LoRA: save it with path_initial_model_for_weight_conversion",
                prefix + "init_lora_weights");
        }

        alpha = Number(json, prefix + Alpha);
        rank = Number(json, prefix + Rank);
        isRoot = Flag(json, prefix + RootScale);
        alphas = Patterns(json, prefix + AlphaPatterns);
        ranks = Patterns(json, prefix + RankPatterns);
        return this;
    }

    // As in peft, the first matching pattern counts. A pattern matches the whole name of a layer or the whole part after one of its dots; a pattern that
    // begins with ^ matches only the whole name.
    private static double? Match(List<(Regex Layer, double Value)> patterns, string layer)
    {
        foreach (var (pattern, value) in patterns)
        {
            if (pattern.IsMatch(layer) || pattern.IsMatch(Prefix + layer))
                return value;
        }

        return null;
    }

    private static List<(Regex, double)> Patterns(JsonElement json, string key)
    {
        if (Find(json, key) is not { } patterns)
            return [];
        if (patterns.ValueKind != JsonValueKind.Object)
            throw new MalformedTextException(0, $"{key} is not an object of patterns and numbers", key);
        if (patterns.GetPropertyCount() > MaxPatterns)
            throw new MalformedTextException(0, $"{key} has more than {MaxPatterns} patterns", key);
        return [.. patterns.EnumerateObject().Where(p => p.Value.ValueKind != JsonValueKind.Null).Select(p => (Pattern(p.Name, key), Finite(p.Value, $"{key}.{p.Name}")))];
    }

    private static Regex Pattern(string text, string key)
    {
        try
        {
            if (text.Length > MaxPatternLength)
                throw new NotSupportedException();
            return new Regex($@"\A(?:.*\.)?(?:{text})\z", RegexOptions.NonBacktracking | RegexOptions.CultureInvariant);
        }
        catch (Exception e) when (e is ArgumentException or NotSupportedException)
        {
            throw new MalformedTextException(0, $"{key} has the pattern {text[..Math.Min(text.Length, 60)]}, which is not understood here", key, e);
        }
    }

    private static bool Flag(JsonElement json, string key) => Find(json, key) switch
    {
        null or { ValueKind: JsonValueKind.False } => false,
        { ValueKind: JsonValueKind.True } => true,
        _ => throw new MalformedTextException(0, $"{key} is neither true nor false", key),
    };

    private static double? Number(JsonElement json, string key) => Find(json, key) is { } value ? Finite(value, key) : null;

    // Numbers may be strings; Python's NaN and Infinity are refused by the parser.
    private static double Finite(JsonElement value, string key) =>
        value.ValueKind is JsonValueKind.Number or JsonValueKind.String && PlainNumber.TryReal(value.ToString(), out var number) ? number
            : throw new MalformedTextException(0, $"{key} is {StrictJson.Shown(value)}: it is a finite number", key);

    private static JsonElement? Find(JsonElement json, string key) =>
        json.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;
}
