using PyramidFlow.Torch;

namespace PyramidFlow.Models.Lora;

/// <summary>Prepares a model for training of low-rank additions.</summary>
public static class LoraAdapters
{
    /// <summary>
    /// Freezes a loaded model and adds trainable low-rank matrices to the layers that the config names. They are the only
    /// weights that <see cref="FlatParameters"/> takes afterwards.
    /// </summary>
    /// <param name="model">The model, with weights.</param>
    /// <param name="config">Which layers.</param>
    /// <param name="generator">Draws the matrices.</param>
    /// <returns>Keys of the layers.</returns>
    /// <exception cref="ArgumentException">The config is impossible, or a target names no layer.</exception>
    public static IReadOnlyList<string> Attach(Module model, LoraConfig config, RandomGenerator generator)
    {
        var chosen = Chosen(model, config);
        foreach (var (_, parameter) in model.NamedParameters())
            parameter.Trainable = false;
        foreach (var (_, layer) in chosen)
            layer.AddLowRank(config.Rank, config.Scale, generator);
        return [.. chosen.Select(l => l.Path)];
    }

    /// <summary>Keys of the layers that would get additions; changes nothing, and the model needs no weights.</summary>
    /// <param name="model">The model.</param>
    /// <param name="config">Which layers.</param>
    /// <exception cref="ArgumentException">The config is impossible, or a target names no layer.</exception>
    public static IReadOnlyList<string> Layers(Module model, LoraConfig config) => [.. Chosen(model, config).Select(l => l.Path)];

    private static List<(string Path, Linear Layer)> Chosen(Module model, LoraConfig config)
    {
        if (config.Fault() is { } fault)
            throw new ArgumentException(fault);
        List<(string Path, Linear Layer)> layers = [.. model.NamedModules().Where(m => m.Module is Linear).Select(m => (m.Path, (Linear)m.Module))];
        if (config.Targets.FirstOrDefault(target => !layers.Any(l => IsNamed(l.Path, target))) is { } unknown)
            throw new ArgumentException($"the LoRA target {unknown} names no layer of this model; there are: {Names(layers.Select(l => l.Path))}");
        return [.. layers.Where(l => config.Targets.Any(target => IsNamed(l.Path, target)))];
    }

    private static bool IsNamed(string path, string target) =>
        path == target || path.EndsWith("." + target, StringComparison.Ordinal);

    // Once for all blocks: without list and number.
    private static string Names(IEnumerable<string> paths) => string.Join(", ", paths
        .Select(path => path.Split('.'))
        .Select(parts => string.Join('.', parts.Length > 2 && parts[1].All(char.IsAsciiDigit) ? parts[2..] : parts))
        .Distinct());
}
