using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Lora;

/// <summary>
/// The strength of a LoRA as its trainer noted it: in <c>adapter_config.json</c> of peft, or in what diffusers keeps in the file's metadata under
/// <c>lora_adapter_metadata</c>. Both are a JSON object with <c>r</c>, <c>lora_alpha</c>, <c>use_rslora</c> and, for single layers,
/// <c>alpha_pattern</c> and <c>rank_pattern</c>; diffusers puts <c>transformer.</c> before each.
/// </summary>
internal sealed class LoraMetadata
{
    private const string Key = "lora_adapter_metadata", Prefix = "transformer.", Alpha = "lora_alpha", Rank = "r",
        AlphaPatterns = "alpha_pattern", RankPatterns = "rank_pattern", RootScale = "use_rslora";

    // What peft takes where its file says nothing.
    private const double PeftAlpha = 8;

    private const int MaxPatterns = 4096, MaxPatternLength = 512;
    private const long MaxConfigBytes = 1 << 20;

    // These change the weights that the LoRA is added to before it is trained.
    private static readonly string[] Rebasing = ["pissa", "olora", "corda", "loftq"];

    private readonly string name;
    private double? alpha;
    private double? rank;
    private bool isRoot;
    private List<(Regex Layer, double Value)> alphas = [], ranks = [];

    private LoraMetadata(string name) => this.name = name;

    /// <summary>Metadata of a file in whose matrices the scale is multiplied: to its readers alpha is the rank.</summary>
    internal static Dictionary<string, string> Of(LoraConfig config) => new()
    {
        ["format"] = "pt",
        [Key] = new JsonObject
        {
            [Prefix + Rank] = config.Rank,
            [Prefix + Alpha] = config.Rank,
            [Prefix + "target_modules"] = new JsonArray([.. config.Targets.Select(target => JsonValue.Create(target))]),
        }.ToJsonString(),
    };

    /// <summary>What is said about a LoRA: by its file, else by the settings beside it, else nothing.</summary>
    /// <exception cref="CheckpointException">It is damaged, holds a number that is not finite, or describes something else than a plain LoRA.</exception>
    internal static LoraMetadata Read(LoraPlace place)
    {
        if (Path.GetExtension(place.File).Equals(".safetensors", StringComparison.OrdinalIgnoreCase))
        {
            using var file = SafetensorsFile.Open(place.File);
            // Without a brace it is somebody else's words under the same name.
            if (file.Metadata.TryGetValue(Key, out var text) && text.TrimStart().StartsWith('{'))
                return Parse($"{place.File}: {Key}", () => StrictJson.Parse(text, new StrictJsonOptions(RepeatedKeys: true)), Prefix);
        }

        if (place.Config is not { } config)
            return new LoraMetadata(place.File);
        var settings = Parse(config, () => StrictJson.Parse(StrictText.ReadBytes(config, MaxConfigBytes), new StrictJsonOptions(RepeatedKeys: true)), "");
        settings.alpha ??= PeftAlpha;
        return settings;
    }

    /// <summary>How much the product of a layer's matrices counts.</summary>
    /// <param name="layer">Key of the layer.</param>
    /// <param name="rows">Rank of its matrices.</param>
    /// <exception cref="CheckpointException">The settings are those of another LoRA.</exception>
    internal double Scale(string layer, long rows)
    {
        if ((Match(ranks, layer) ?? rank) is { } noted && noted != rows)
            throw new CheckpointException(FormattableString.Invariant($"{name} says rank {noted} for {layer}, whose matrices have {rows}: it is of another LoRA; take the one that came with the file, or move it away"));
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
            throw new CheckpointException($"{name}: {e.Message}", e);
        }
        catch (Exception e) when (e is UnauthorizedAccessException || (e is IOException and not CheckpointException))
        {
            throw new CheckpointException($"{name} cannot be read: {e.Message}", e);
        }
    }

    private LoraMetadata Take(JsonElement json, string prefix)
    {
        if (Find(json, prefix + "peft_type") is { ValueKind: JsonValueKind.String } kind && kind.GetString() is var type && type != "LORA")
            throw new MalformedTextException(0, $"{prefix}peft_type is {type}: only a LORA is read here");
        if (Flag(json, prefix + "use_dora"))
            throw new MalformedTextException(0, $"{prefix}use_dora is true: a DoRA is not read here, only a plain LoRA");
        if (Find(json, prefix + "init_lora_weights") is { ValueKind: JsonValueKind.String } start
            && Rebasing.FirstOrDefault(way => start.GetString()!.StartsWith(way, StringComparison.OrdinalIgnoreCase)) is { } rebasing)
        {
            throw new MalformedTextException(0, $"{prefix}init_lora_weights is {rebasing}, which changes the weights below the LoRA: save it with path_initial_model_for_weight_conversion");
        }

        alpha = Number(json, prefix + Alpha);
        rank = Number(json, prefix + Rank);
        isRoot = Flag(json, prefix + RootScale);
        alphas = Patterns(json, prefix + AlphaPatterns);
        ranks = Patterns(json, prefix + RankPatterns);
        return this;
    }

    // peft takes the first pattern that matches the whole name of a layer, or the whole of what follows one of its dots. A pattern that begins with ^
    // matches the whole name only.
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
            throw new MalformedTextException(0, $"{key} is not an object of patterns and numbers");
        if (patterns.GetPropertyCount() > MaxPatterns)
            throw new MalformedTextException(0, $"{key} has more than {MaxPatterns} patterns");
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
        _ => throw new MalformedTextException(0, $"{key} is neither true nor false"),
    };

    private static double? Number(JsonElement json, string key) => Find(json, key) is { } value ? Finite(value, key) : null;

    // A number may stand as a text; NaN and Infinity, which Python writes, are neither by now.
    private static double Finite(JsonElement value, string key) =>
        value.ValueKind is JsonValueKind.Number or JsonValueKind.String && PlainNumber.TryReal(value.ToString(), out var number) ? number
            : throw new MalformedTextException(0, $"{key} is {StrictJson.Shown(value)}: it is a finite number");

    private static JsonElement? Find(JsonElement json, string key) =>
        json.TryGetProperty(key, out var value) && value.ValueKind != JsonValueKind.Null ? value : null;
}
