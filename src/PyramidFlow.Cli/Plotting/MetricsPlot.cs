using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Output;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Plotting;

/// <summary>One run of <c>train plot</c>: curves of numbers that runs wrote as JSON lines.</summary>
/// <param name="X">The key that goes to the right.</param>
/// <param name="Y">Keys that go up; null takes all that begin with loss.</param>
/// <param name="Labels">What to call the files; null takes the names of their folders.</param>
/// <param name="Log">Which axes are logarithmic: <c>x</c>, <c>y</c> or <c>xy</c>; null is none.</param>
/// <param name="Smooth">How many neighbouring lines become one.</param>
/// <param name="Title">Above the picture; may be empty.</param>
internal sealed record MetricsPlot(string X, IReadOnlyList<string>? Y, IReadOnlyList<string>? Labels, string? Log, int Smooth, string Title)
{
    private const string Loss = "loss";

    /// <summary>Reads, draws and writes.</summary>
    /// <param name="files">Files of metrics.</param>
    /// <param name="output">SVG file to write.</param>
    /// <param name="console">Takes the name of the file.</param>
    public int Run(IReadOnlyList<string> files, string output, CliConsole console)
    {
        OutputFile.Check(output, ".svg");
        if (Labels is { } labels && labels.Count != files.Count)
            throw new UsageException($"--label names {labels.Count} files where there are {files.Count}: give one name for each, with commas between them");
        Curve[] curves = [.. files.SelectMany((file, i) => Curves(file, Labels?[i] ?? NameOf(file), files.Count > 1))];
        var (logX, logY) = (Log?.Contains('x', StringComparison.Ordinal) ?? false, Log?.Contains('y', StringComparison.Ordinal) ?? false);
        if (curves.SelectMany(curve => curve.Points).Any(p => (logX && p.X <= 0) || (logY && p.Y <= 0)))
            throw new UsageException("a logarithmic axis has no place for 0 and less: leave --log out, or choose another axis");
        var up = Y is [var only] ? only : Y is null ? Loss : "";
        File.WriteAllText(output, new LinePlot(Title, X, up, logX, logY).Draw(curves));
        console.Result(output);
        return ExitCode.Ok;
    }

    private IEnumerable<Curve> Curves(string file, string label, bool several)
    {
        var lines = MetricsFile.Read(file);
        var keys = Y ?? [.. lines.SelectMany(line => line.Keys).Distinct().Where(key => key.StartsWith(Loss, StringComparison.Ordinal)).Order(StringComparer.Ordinal)];
        foreach (var key in keys)
        {
            var points = lines.Where(line => line.ContainsKey(X) && line.ContainsKey(key)).Select(line => (line[X], line[key])).ToList();
            if (points.Count == 0)
                throw new UsageException($"{file} has no line with both {X} and {key}: its keys are {string.Join(", ", lines.SelectMany(line => line.Keys).Distinct())}");
            yield return new Curve(!several ? key : keys.Count == 1 ? label : $"{label} {key}", points).Smoothed(Smooth);
        }

        if (keys.Count == 0)
            throw new UsageException($"{file} has no key that begins with {Loss}: name what to plot with --y");
    }

    // runs/a/dit/metrics.jsonl is called a.
    private static string NameOf(string file)
    {
        var parts = Path.GetFullPath(file).Split(Path.DirectorySeparatorChar);
        return parts is [.., var run, "dit" or "vae", _] ? run : parts is [.., var folder, _] ? folder : file;
    }
}
