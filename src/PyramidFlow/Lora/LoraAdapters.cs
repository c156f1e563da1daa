using PyramidFlow.Torch;

namespace PyramidFlow.Lora;

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
    /// <exception cref="ArgumentException">The rank is impossible, or a target names no layer.</exception>
    public static IReadOnlyList<string> Attach(Module model, LoraConfig config, RandomGenerator generator)
    {
        if (config.Rank < 1)
            throw new ArgumentException($"a LoRA of rank {config.Rank} has no weights: use a rank of at least 1");
        List<(string Path, Linear Layer)> layers = [.. model.NamedModules().Where(m => m.Module is Linear).Select(m => (m.Path, (Linear)m.Module))];
        if (config.Targets.FirstOrDefault(target => !layers.Any(l => IsNamed(l.Path, target))) is { } unknown)
            throw new ArgumentException($"the LoRA target {unknown} names no layer of this model; there are: {Names(layers.Select(l => l.Path))}");
        foreach (var (_, parameter) in model.NamedParameters())
            parameter.Trainable = false;
        List<(string Path, Linear Layer)> chosen = [.. layers.Where(l => config.Targets.Any(target => IsNamed(l.Path, target)))];
        foreach (var (_, layer) in chosen)
            layer.AddLowRank(config.Rank, config.Scale, generator);
        return [.. chosen.Select(l => l.Path)];
    }

    private static bool IsNamed(string path, string target) =>
        path == target || path.EndsWith("." + target, StringComparison.Ordinal);

    // Once for all blocks: without list and number.
    private static string Names(IEnumerable<string> paths) => string.Join(", ", paths
        .Select(path => path.Split('.'))
        .Select(parts => string.Join('.', parts.Length > 2 && parts[1].All(char.IsAsciiDigit) ? parts[2..] : parts))
        .Distinct());
}
