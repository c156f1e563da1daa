using PyramidFlow.Cli.Terminal;

namespace PyramidFlow.Cli.Generating;

/// <summary>Names of the files that one prompt is made into.</summary>
internal static class OutputNames
{
    /// <summary>Fails unless what is asked for can be written.</summary>
    /// <exception cref="UsageException">Unknown extension, a folder that is missing or cannot be written, or options that do not go together.</exception>
    public static void Check(GenerateArguments arguments, CliConsole console)
    {
        var (output, clip) = (arguments.Output, arguments.Clip);
        if (output == OutputFile.Standard)
            CheckStandard(arguments, console);
        else if (output is null)
            OutputFile.Check(OutputFile.Stem + OutputFile.Video, OutputFile.Video);
        else
            OutputFile.Check(arguments.Count > 1 && Directory.Exists(output) ? Path.Combine(output, OutputFile.Stem + OutputFile.Video) : output,
                clip.IsContinuation ? [OutputFile.Video, OutputFile.Animation] : OutputFile.Extensions);
        if (arguments.Stream && output is not (null or OutputFile.Standard) && Path.GetExtension(output).ToLowerInvariant() is not (OutputFile.Video or ""))
            throw CommandFault.StreamKind(Path.ChangeExtension(output, OutputFile.Video)!);
        if (arguments.Stream && output is not null && clip.VideoFile is { } video && Path.GetFullPath(video) == Path.GetFullPath(output))
            throw CommandFault.StreamOverInput(output);
        if (arguments.SaveLatents is not { } latents)
            return;
        OutputFile.Check(latents, OutputFile.Latents);
        if (clip.NewFramesOnly == true)
            throw CommandFault.LatentsOfNewFrames();
    }

    /// <summary>The names: one as it was named, several with <c>-1</c>, <c>-2</c> and so on before the extension.</summary>
    /// <param name="output">What was named: a file, a folder for several files, or null for free names here.</param>
    /// <param name="count">How many.</param>
    /// <param name="extension">Of files that have no name yet.</param>
    /// <param name="reserved">Takes free names: <c>out.mp4</c>, <c>out-2.mp4</c> and so on, or of several <c>out-1.mp4</c>, <c>out-2.mp4</c>.</param>
    public static IReadOnlyList<string> Of(string? output, int count, string extension, ReservedNames reserved)
    {
        if (output is null)
            return reserved.Take(n => count == 1 && n == 1 ? OutputFile.Stem + extension : Numbered(OutputFile.Stem + extension, n), count);
        return Of(output, count, extension);
    }

    /// <summary>The names of files that were named.</summary>
    /// <inheritdoc cref="Of(string?, int, string, ReservedNames)"/>
    public static IReadOnlyList<string> Of(string output, int count, string extension)
    {
        if (count == 1)
            return [output];
        var file = Directory.Exists(output) ? Path.Combine(output, OutputFile.Stem + extension) : output;
        return [.. Enumerable.Range(1, count).Select(n => Numbered(file, n))];
    }

    private static string Numbered(string path, int number) =>
        Path.Combine(Path.GetDirectoryName(path) ?? "", $"{Path.GetFileNameWithoutExtension(path)}-{number}{Path.GetExtension(path)}");

    private static void CheckStandard(GenerateArguments arguments, CliConsole console)
    {
        if (!console.TakesBytes)
            throw CommandFault.StandardOutputIsTerminal();
        if (arguments.Count > 1)
            throw CommandFault.StandardOutputTakesOne();
        if (arguments.Json)
            throw CommandFault.StandardOutputTakesVideo();
    }
}

/// <summary>
/// Names of files that were given none. Each is taken at once by an empty file, so that two runs in one folder never write to the
/// same; files that stay empty are deleted at the end.
/// </summary>
internal sealed class ReservedNames : IDisposable
{
    private readonly List<string> taken = [];

    /// <summary>Takes names that are free, in the order of their numbers.</summary>
    /// <param name="nameOf">The name of each number, from 1.</param>
    /// <param name="count">How many.</param>
    /// <exception cref="IOException">The folder cannot be written.</exception>
    public IReadOnlyList<string> Take(Func<int, string> nameOf, int count)
    {
        var names = new List<string>();
        for (var number = 1; names.Count < count; number++)
        {
            var name = nameOf(number);
            if (Path.Exists(name) || !TryTake(name))
                continue;
            names.Add(name);
            taken.Add(name);
        }

        return names;
    }

    public void Dispose()
    {
        foreach (var name in taken)
        {
            if (new FileInfo(name) is { Exists: true, Length: 0 })
                File.Delete(name);
        }
    }

    private static bool TryTake(string name)
    {
        try
        {
            new FileStream(name, FileMode.CreateNew, FileAccess.Write).Dispose();
            return true;
        }
        catch (IOException) when (Path.Exists(name))
        {
            // Another run was faster.
            return false;
        }
    }
}
