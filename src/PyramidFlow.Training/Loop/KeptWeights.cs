using System.Globalization;

namespace PyramidFlow.Training.Loop;

/// <summary>Averaged weights of the transformer that a run kept on its way.</summary>
/// <param name="Step">Steps done by then.</param>
/// <param name="File">The file's name in the folder of the run.</param>
/// <param name="Flops">Operations of the matrix products of all steps up to it; see <see cref="PyramidFlow.Models.DitFlops"/>.</param>
public sealed record KeptWeights(long Step, string File, double Flops)
{
    private const string Prefix = "dit-", End = ".safetensors";

    /// <summary>Name of the file of a step.</summary>
    public static string NameOf(long step) => FormattableString.Invariant($"{Prefix}{step}{End}");

    /// <summary>Those of a run, in order; none where it kept none.</summary>
    /// <param name="run">Folder of the transformer's run.</param>
    /// <exception cref="ArgumentException">It is no such folder.</exception>
    public static IReadOnlyList<KeptWeights> Of(string run)
    {
        var metrics = MetricLines.Read(Path.Combine(run, "metrics.jsonl"));
        return [.. Directory.GetFiles(run, Prefix + "*" + End).Select(file => Path.GetFileName(file))
            .Where(name => long.TryParse(Digits(name), NumberStyles.None, CultureInfo.InvariantCulture, out _))
            .Select(name => (Name: name, Step: long.Parse(Digits(name), CultureInfo.InvariantCulture)))
            .OrderBy(kept => kept.Step)
            .Select(kept => new KeptWeights(kept.Step, kept.Name, FlopsUpTo(metrics, kept.Step)))];
    }

    private static ReadOnlySpan<char> Digits(string name) => name.AsSpan()[Prefix.Length..^End.Length];

    private static double FlopsUpTo(IEnumerable<IReadOnlyDictionary<string, double>> metrics, long step) =>
        metrics.Where(line => line["step"] <= step).Sum(line => line.GetValueOrDefault("flops"));
}
