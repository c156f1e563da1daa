namespace PyramidFlow.MicroBenchmarks;

/// <summary>Finds files of the repository this was built in.</summary>
internal static class Repository
{
    /// <summary>The path of a file or folder.</summary>
    /// <exception cref="FileNotFoundException">It is in no folder above the program.</exception>
    internal static string Find(params string[] names)
    {
        var path = Path.Combine(names);
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var whole = Path.Combine(folder.FullName, path);
            if (Path.Exists(whole))
                return whole;
        }

        throw new FileNotFoundException($"{path} is in no folder above {AppContext.BaseDirectory}: run the benchmarks from where they were built");
    }
}
