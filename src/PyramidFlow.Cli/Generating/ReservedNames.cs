namespace PyramidFlow.Cli.Generating;

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
