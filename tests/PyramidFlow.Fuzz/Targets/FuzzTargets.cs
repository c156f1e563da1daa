using System.Text;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>All targets, and what they share.</summary>
internal static class FuzzTargets
{
    /// <summary>Every reader of bytes from outside the program.</summary>
    public static IEnumerable<FuzzTarget> All() =>
    [
        .. TextTargets.All(), .. CheckpointTargets.All(), .. TokenizerTargets.All(), .. MediaTargets.All(), .. TrainingTargets.All(), .. CommandTargets.All(), .. ServiceTargets.All(),
    ];

    /// <summary>A folder of this run, in memory where the system has one there.</summary>
    public static string Folder { get; } =
        Directory.CreateDirectory(Path.Combine(Directory.Exists("/dev/shm") ? "/dev/shm" : Path.GetTempPath(), $"pyramidflow-fuzz-{Environment.ProcessId}")).FullName;

    /// <summary>Deletes it.</summary>
    public static void DeleteFolder()
    {
        if (Directory.Exists(Folder))
            Directory.Delete(Folder, recursive: true);
    }

    /// <summary>UTF-8 of texts.</summary>
    public static byte[][] Utf8(params IEnumerable<string> texts) => [.. texts.Select(Encoding.UTF8.GetBytes)];

    /// <summary>Reads an input as a file of a name.</summary>
    public static Action<byte[]> AsFile(string name, Action<string> read) => AsFile(name, input => input, read);

    /// <summary>Reads an input, after a change that makes it fit, as a file of a name.</summary>
    public static Action<byte[]> AsFile(string name, Func<byte[], byte[]> fit, Action<string> read)
    {
        var path = Path.Combine(Folder, name);
        return input =>
        {
            File.WriteAllBytes(path, fit(input));
            read(path);
        };
    }

    /// <summary>The repository's own files, for seeds.</summary>
    public static string Repository { get; } = FindRepository();

    private static string FindRepository()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "PyramidFlow.slnx")))
            folder = Path.GetDirectoryName(folder) ?? throw new InvalidOperationException("the repository is not around this program");
        return folder;
    }

    /// <summary>A file of the repository.</summary>
    public static byte[] Seed(string path) => File.ReadAllBytes(Path.Combine(Repository, path));
}
