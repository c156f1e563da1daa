using System.Runtime.CompilerServices;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests;

/// <summary>State-dict keys and shapes of released models, as lines <c>key [sizes]</c> in tests/PyramidFlow.Tests/Approved.</summary>
internal static class ApprovedKeys
{
    internal static void AssertEqual(string file, Module model, params string[] tied)
    {
        var approved = File.ReadLines(Path.Combine(Folder(), file))
            .Where(line => line.Length > 0 && !tied.Contains(line.Split(' ')[0]))
            .Order(StringComparer.Ordinal);
        var actual = model.NamedParameters()
            .Select(p => $"{p.Key} [{string.Join(", ", p.Parameter.Shape)}]")
            .Order(StringComparer.Ordinal);
        Assert.Equal(approved, actual);
        Assert.All(model.NamedParameters(), p => Assert.False(p.Parameter.HasValue));
    }

    private static string Folder([CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "Approved"));
}
