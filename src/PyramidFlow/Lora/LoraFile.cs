using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Lora;

/// <summary>Low-rank additions on disk, under the keys that diffusers reads: <c>transformer.LAYER.lora_A.weight</c> and <c>lora_B</c>.</summary>
public static class LoraFile
{
    /// <summary>Name of the file that a training writes.</summary>
    public const string Name = "lora.safetensors";

    private const string Prefix = "transformer.", Down = ".lora_A.weight", Up = ".lora_B.weight", Alpha = ".alpha";

    private static readonly string[] Prefixes = [Prefix, "base_model.model.", "dit.", ""];

    // Older names of the same two matrices.
    private static readonly (string Old, string New)[] Names =
    [
        (".lora.down.weight", Down), (".lora.up.weight", Up), (".lora_down.weight", Down), (".lora_up.weight", Up),
    ];

    /// <summary>Writes additions. Their scale is multiplied in, so that readers who look for no alpha get the same.</summary>
    /// <param name="path">Target; replaced when the new one is whole.</param>
    /// <param name="weights">The trained weights under the model's keys, such as <see cref="FlatParameters.Named"/> gives.</param>
    /// <param name="config">What they were trained with.</param>
    public static void Write(string path, IEnumerable<(string Key, Tensor Tensor)> weights, LoraConfig config)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        SafetensorsWriter.Write(path,
            [.. weights.Select(w => (Prefix + w.Key, w.Key.EndsWith(Up, StringComparison.Ordinal) ? w.Tensor * config.Scale : w.Tensor))],
            LoraMetadata.Of(config));
    }

    /// <summary>Fails where a file's additions cannot be added to a model; reads no weight, and the model needs none.</summary>
    /// <param name="model">The model.</param>
    /// <param name="path">Safetensors file.</param>
    /// <exception cref="CheckpointException">The file is missing or damaged, holds no LoRA, or one of another model.</exception>
    public static void Check(Module model, string path)
    {
        using var source = Open(path);
        Layers(model, path, source, Keys(source));
    }

    /// <summary>Adds the additions of a file to a model's weights for good; several files add up.</summary>
    /// <param name="model">The model, with weights.</param>
    /// <param name="path">Safetensors file.</param>
    /// <param name="weight">How much they count; 1 as trained, negative takes them away.</param>
    /// <exception cref="CheckpointException">The file is missing or damaged, holds no LoRA, or one of another model.</exception>
    public static void Merge(Module model, string path, double weight = 1)
    {
        using var noGrad = NoGrad.Begin();
        using var source = Open(path);
        var keys = Keys(source);
        var layers = Layers(model, path, source, keys);
        var parameters = model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        var metadata = LoraMetadata.Read(path);
        if (layers.Find(layer => parameters[layer + ".weight"].Type == ElementType.Int8) is { } rounded)
            throw new CheckpointException($"{path} cannot be added to {rounded}, which is int8: use the checkpoint it was converted from");
        foreach (var layer in layers)
        {
            using var scope = new TensorScope();
            var (a, b) = (Read(layer + Down), Read(layer + Up));                                    // [r, in], [out, r]
            var scale = keys.ContainsKey(layer + Alpha) ? Read(layer + Alpha).Item() / a.Size(0) : metadata.Scale(layer, a.Size(0));
            var target = parameters[layer + ".weight"];
            var sum = target.Value.To(ElementType.Float32).Add(b.Matmul(a).To(target.Value.Device), weight * scale);
            target.Value = sum.To(target.Value.Type);
        }

        Tensor Read(string key) => source.Read(keys[key]).To(ElementType.Float32);
    }

    private static StateSource Open(string path) => File.Exists(path)
        ? WeightsFile.Open(path)
        : throw new CheckpointException($"{path} does not exist: give the LoRA's safetensors file");

    // The file's keys by what they are called here: without a prefix, under the new names.
    private static Dictionary<string, string> Keys(StateSource source)
    {
        var keys = new Dictionary<string, string>();
        foreach (var original in source.Keys)
        {
            var key = Names.Aggregate(original, (name, change) =>
                name.EndsWith(change.Old, StringComparison.Ordinal) ? name[..^change.Old.Length] + change.New : name);
            var prefix = Prefixes.First(p => key.StartsWith(p, StringComparison.Ordinal));
            keys[key[prefix.Length..]] = original;
        }

        return keys;
    }

    // The layers that have additions, all of them in the model and of its shapes.
    private static List<string> Layers(Module model, string path, StateSource source, Dictionary<string, string> keys)
    {
        List<string> layers = [.. keys.Keys.Where(key => key.EndsWith(Down, StringComparison.Ordinal)).Select(key => key[..^Down.Length])];
        if (layers.Count == 0)
            throw new CheckpointException($"{path} holds no LoRA: none of its keys ends in {Down[1..]}");
        var parameters = model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter);
        if (!layers.Exists(layer => parameters.ContainsKey(layer + ".weight")))
            throw new CheckpointException($"{path} is a LoRA of another model: there is no layer {layers[0]} here, nor any other of its {layers.Count}");
        var known = layers.SelectMany(layer => new[] { layer + Down, layer + Up, layer + Alpha }).ToHashSet();
        var faults = keys.Keys.Where(key => !known.Contains(key)).Select(key => $"{key} belongs to no pair of matrices")
            .Concat(layers.Select(Fault).OfType<string>()).ToList();
        const int shown = 6;
        return faults.Count == 0 ? layers : throw new CheckpointException(
            $"{path} does not fit this model: {string.Join("; ", faults.Take(shown))}{(faults.Count > shown ? $"; and {faults.Count - shown} more" : "")}");

        string? Fault(string layer)
        {
            if (!keys.TryGetValue(layer + Up, out var up))
                return $"{layer}{Up} is missing";
            if (!parameters.TryGetValue(layer + ".weight", out var target) || target.Shape.Length != 2)
                return $"the model has no layer {layer}";
            var (a, b) = (source.Describe(keys[layer + Down]).Shape, source.Describe(up).Shape);
            return a.Length == 2 && b.Length == 2 && a[0] == b[1] && b[0] == target.Shape[0] && a[1] == target.Shape[1] ? null
                : $"{layer} is [{string.Join(", ", b)}] x [{string.Join(", ", a)}] where the model has [{string.Join(", ", target.Shape)}]";
        }
    }
}
