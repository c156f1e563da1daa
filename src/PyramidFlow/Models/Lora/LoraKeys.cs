using PyramidFlow.Torch;

namespace PyramidFlow.Models.Lora;

/// <summary>Keys of the two matrices of a layer in a LoRA file, and of their alpha.</summary>
internal sealed class LoraPair(string layer)
{
    /// <summary>Key of the layer in the model, or in the file if the model has no such layer.</summary>
    internal string Layer => layer;

    /// <summary>Key of the first matrix, [rank, in].</summary>
    internal string? Down { get; set; }

    /// <summary>Key of the second matrix, [out, rank].</summary>
    internal string? Up { get; set; }

    /// <summary>Key of alpha; null if the file has none for the layer.</summary>
    internal string? Alpha { get; set; }
}

/// <summary>
/// Maps the keys of LoRA files to layers of a model. Trainers write different keys: diffusers prepends <c>transformer.</c>, ComfyUI
/// <c>diffusion_model.</c>, peft <c>base_model.model.</c> with the adapter's name after <c>lora_A</c>, wrappers <c>module.</c>, and kohya's scripts
/// <c>lora_unet_</c> with underscores instead of dots. A key matches if a layer of the model remains after removing these.
/// </summary>
/// <param name="model">The model; it needs no weights.</param>
internal sealed class LoraKeys(Module model)
{
    private const string Weight = ".weight", Alpha = ".alpha";

    private static readonly string[] Prefixes =
        ["base_model.model.", "base_model.", "module.", "model.diffusion_model.", "diffusion_model.", "transformer.", "dit.", "unet.", "model."];

    private static readonly string[] Flat = ["lora_unet_", "lora_transformer_"];

    private static readonly (string Name, bool IsDown)[] Matrices =
        [(".lora_A", true), (".lora_B", false), (".lora_down", true), (".lora_up", false), (".lora.down", true), (".lora.up", false)];

    private readonly HashSet<string> layers =
        [.. model.NamedParameters().Where(p => p.Parameter.Shape.Length == 2 && p.Key.EndsWith(Weight, StringComparison.Ordinal)).Select(p => p.Key[..^Weight.Length])];

    private Dictionary<string, string>? flattened;

    /// <summary>Whether the model has a layer.</summary>
    internal bool Has(string layer) => layers.Contains(layer);

    /// <summary>Pairs of matrices of a file, in its order.</summary>
    /// <param name="keys">All keys of the file.</param>
    /// <param name="faults">Receives messages about invalid keys.</param>
    internal List<LoraPair> Pairs(IEnumerable<string> keys, List<string> faults)
    {
        var pairs = new Dictionary<string, LoraPair>();
        foreach (var key in keys)
        {
            if (Split(key) is not (var stem, var isDown))
            {
                faults.Add(CheckpointFault.NoPair(key));
                continue;
            }

            var layer = Layer(stem);
            if (!pairs.TryGetValue(layer, out var pair))
                pairs[layer] = pair = new LoraPair(layer);
            var before = isDown switch { true => pair.Down, false => pair.Up, null => pair.Alpha };
            if (before is not null)
                faults.Add(CheckpointFault.SameLayer(before, key));
            else if (isDown is null)
                pair.Alpha = key;
            else if (isDown.Value)
                pair.Down = key;
            else
                pair.Up = key;
        }

        return [.. pairs.Values];
    }

    // The part of a key that names the layer, and which matrix it is (null for alpha). The name of an adapter may follow lora_A.
    private static (string Stem, bool? IsDown)? Split(string key)
    {
        if (key.EndsWith(Alpha, StringComparison.Ordinal))
            return (key[..^Alpha.Length], null);
        if (!key.EndsWith(Weight, StringComparison.Ordinal))
            return null;
        var whole = key[..^Weight.Length];
        var dot = whole.LastIndexOf('.');
        foreach (var stem in dot < 0 ? [whole] : new[] { whole, whole[..dot] })
        {
            foreach (var (name, isDown) in Matrices)
            {
                if (stem.EndsWith(name, StringComparison.Ordinal) && stem.Length > name.Length)
                    return (stem[..^name.Length], isDown);
            }
        }

        return null;
    }

    private string Layer(string stem)
    {
        while (!layers.Contains(stem))
        {
            if (Flat.FirstOrDefault(flat => stem.StartsWith(flat, StringComparison.Ordinal)) is { } lead)
                return Flattened().GetValueOrDefault(stem[lead.Length..], stem);
            if (Prefixes.FirstOrDefault(prefix => stem.StartsWith(prefix, StringComparison.Ordinal) && stem.Length > prefix.Length) is not { } known)
                break;
            stem = stem[known.Length..];
        }

        return stem;
    }

    // Names that are ambiguous without dots match no layer.
    private Dictionary<string, string> Flattened() => flattened ??= layers
        .GroupBy(layer => layer.Replace('.', '_'))
        .Where(group => group.Count() == 1)
        .ToDictionary(group => group.Key, group => group.Single());
}
