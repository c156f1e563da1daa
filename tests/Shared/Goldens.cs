using System.Runtime.CompilerServices;
using System.Text.Json;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Testing;

/// <summary>The golden folder: PYRAMIDFLOW_GOLDENS if set, else the repository's own.</summary>
public static class Goldens
{
    public static string Root { get; } =
        Environment.GetEnvironmentVariable("PYRAMIDFLOW_GOLDENS") is { Length: > 0 } folder ? folder : RepositoryFolder();

    private static readonly Lazy<JsonDocument> Manifest =
        new(() => JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Root, "manifest.json"))));

    /// <summary>Names of all cases of one kind, for a theory.</summary>
    public static TheoryData<string> Names(string kind)
    {
        var names = new TheoryData<string>();
        foreach (var golden in Manifest.Value.RootElement.GetProperty("cases").EnumerateArray())
        {
            if (golden.GetProperty("kind").GetString() == kind)
                names.Add(golden.GetProperty("name").GetString()!);
        }

        return names;
    }

    /// <summary>Opens the case of that kind and name.</summary>
    public static GoldenCase Open(string kind, string name) => new(Manifest.Value.RootElement.GetProperty("cases")
        .EnumerateArray()
        .Single(c => c.GetProperty("kind").GetString() == kind && c.GetProperty("name").GetString() == name));

    private static string RepositoryFolder([CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "goldens"));
}

/// <summary>One golden case: its manifest entry and its tensors.</summary>
public sealed class GoldenCase(JsonElement manifest) : IDisposable
{
    private readonly Dictionary<string, SafetensorsFile> open = [];

    public JsonElement Manifest { get; } = manifest;

    public JsonElement Config => Manifest.GetProperty("config");

    public SafetensorsFile File => OpenFile(Manifest.GetProperty("file").GetString()!);

    /// <summary>The shared weights file named by a manifest field, or null when the case holds its own under weights/.</summary>
    public SafetensorsFile? Weights(string field = "weights_file") =>
        Manifest.TryGetProperty(field, out var name) ? OpenFile(name.GetString()!) : null;

    public double Atol => Tolerance("atol", 1e-5);

    public double Rtol => Tolerance("rtol", 1e-4);

    public void Dispose()
    {
        foreach (var file in open.Values)
            file.Dispose();
    }

    private double Tolerance(string name, double otherwise) =>
        Manifest.TryGetProperty("tolerance", out var t) && t.TryGetProperty(name, out var v) ? v.GetDouble() : otherwise;

    private SafetensorsFile OpenFile(string relative)
    {
        if (!open.TryGetValue(relative, out var file))
            open[relative] = file = SafetensorsFile.Open(Path.Combine(Goldens.Root, relative));
        return file;
    }
}
