namespace PyramidFlow.Cli.Generating;

/// <summary>Names of the files that one prompt is made into.</summary>
internal static class OutputNames
{
    /// <summary>Fails unless files can be written there.</summary>
    /// <param name="output">What was named; null takes free names here.</param>
    /// <param name="count">How many files there will be.</param>
    /// <exception cref="UsageException">Unknown extension, or a folder that is missing or cannot be written.</exception>
    public static void Check(string? output, int count)
    {
        if (output is null)
            OutputFile.Check(OutputFile.Stem + GenerationPlan.Video, GenerationPlan.Video);
        else
            OutputFile.Check(count > 1 && Directory.Exists(output) ? Path.Combine(output, OutputFile.Stem + GenerationPlan.Video) : output,
                GenerationPlan.Extensions);
    }

    /// <summary>The names: one as it was named, several with <c>-1</c>, <c>-2</c> and so on before the extension.</summary>
    /// <param name="output">What was named: a file, a folder for several files, or null for free names here.</param>
    /// <param name="count">How many.</param>
    /// <param name="extension">Of files that have no name yet.</param>
    public static IReadOnlyList<string> Of(string? output, int count, string extension)
    {
        if (count == 1)
            return [output ?? OutputFile.FreeName(extension)];
        var file = output is null ? OutputFile.Stem + extension : Directory.Exists(output) ? Path.Combine(output, OutputFile.Stem + extension) : output;
        var names = Enumerable.Range(1, int.MaxValue).Select(n => Numbered(file, n));
        return [.. names.Where(name => output is not null || !File.Exists(name)).Take(count)];
    }

    /// <summary>A file's name with a number: <c>out-2.mp4</c>.</summary>
    private static string Numbered(string path, int number) =>
        Path.Combine(Path.GetDirectoryName(path) ?? "", $"{Path.GetFileNameWithoutExtension(path)}-{number}{Path.GetExtension(path)}");
}
