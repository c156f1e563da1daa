using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Lora;

/// <summary>A LoRA to apply, with its weight.</summary>
/// <param name="Path">Safetensors file, or folder of an adapter written by peft or diffusers.</param>
/// <param name="Weight">Factor: 1 as trained; may be negative.</param>
public sealed record LoraUse(string Path, double Weight = 1);

/// <summary>Config of a LoRA training: the adapted layers, rank and scale.</summary>
/// <param name="Rank">Rank of the matrices; at least 1.</param>
/// <param name="Alpha">The product of the matrices is scaled by alpha / rank.</param>
/// <param name="Targets">
/// Layers by the end of their key, such as <c>attn.to_q</c>, <c>ff.net.2</c> or <c>proj_out</c>; null means the attention
/// projections of image tokens.
/// </param>
public sealed record LoraConfig(int Rank = 16, double Alpha = 16, IReadOnlyList<string>? Targets = null)
{
    /// <summary>Layers by the end of their key.</summary>
    public IReadOnlyList<string> Targets { get; init; } = Targets ?? ["to_q", "to_k", "to_v", "to_out.0"];

    /// <summary>Factor of the product of the matrices.</summary>
    [JsonIgnore]
    public double Scale => Alpha / Rank;

    /// <summary>The error of an invalid value; null if all are valid.</summary>
    public CheckpointException? Fault() =>
        Rank < 1 ? CheckpointFault.LoraRank(Rank)
        : !float.IsFinite((float)Alpha) || Alpha == 0 ? CheckpointFault.LoraAlpha(Alpha)
        : Targets is not { Count: > 0 } ? CheckpointFault.NoLoraTarget()
        : null;
}

/// <summary>Prepares a model for LoRA training.</summary>
internal static class LoraAdapters
{
    /// <summary>
    /// Freezes a loaded model and adds trainable low-rank matrices to the layers of the config. Afterwards <see cref="FlatParameters"/> takes
    /// only these matrices.
    /// </summary>
    /// <param name="model">Model with weights.</param>
    /// <param name="config">Layers and rank.</param>
    /// <param name="generator">Generator of the initial values.</param>
    /// <returns>Keys of the layers.</returns>
    /// <exception cref="CheckpointException">The config is invalid, or a target matches no layer.</exception>
    public static IReadOnlyList<string> Attach(Module model, LoraConfig config, RandomGenerator generator)
    {
        var chosen = Chosen(model, config);
        foreach (var (_, parameter) in model.NamedParameters())
            parameter.Trainable = false;
        foreach (var (_, layer) in chosen)
            layer.AddLowRank(config.Rank, config.Scale, generator);
        return [.. chosen.Select(l => l.Path)];
    }

    /// <summary>Keys of the layers that the config selects; the model stays unchanged and needs no weights.</summary>
    /// <param name="model">The model.</param>
    /// <param name="config">Layers and rank.</param>
    /// <exception cref="CheckpointException">The config is invalid, or a target matches no layer.</exception>
    public static IReadOnlyList<string> Layers(Module model, LoraConfig config) => [.. Chosen(model, config).Select(l => l.Path)];

    private static List<(string Path, Linear Layer)> Chosen(Module model, LoraConfig config)
    {
        if (config.Fault() is { } fault)
            throw fault;
        List<(string Path, Linear Layer)> layers = [.. model.NamedModules().Where(m => m.Module is Linear).Select(m => (m.Path, (Linear)m.Module))];
        if (config.Targets.FirstOrDefault(target => !layers.Any(l => IsNamed(l.Path, target))) is { } unknown)
            throw CheckpointFault.UnknownLoraTarget(unknown, Names(layers.Select(l => l.Path)));
        return [.. layers.Where(l => config.Targets.Any(target => IsNamed(l.Path, target)))];
    }

    private static bool IsNamed(string path, string target) =>
        path == target || path.EndsWith("." + target, StringComparison.Ordinal);

    // Names without block list and number, so that each occurs once.
    private static string Names(IEnumerable<string> paths) => string.Join(", ", paths
        .Select(path => path.Split('.'))
        .Select(parts => string.Join('.', parts.Length > 2 && parts[1].All(char.IsAsciiDigit) ? parts[2..] : parts))
        .Distinct());
}
