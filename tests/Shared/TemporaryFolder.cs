namespace PyramidFlow.Testing;

/// <summary>An empty folder that goes away with the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("pyramidflow-").FullName;

    /// <summary>Names of what lies in it.</summary>
    public string[] Names => [.. Directory.EnumerateFileSystemEntries(Path).Select(path => System.IO.Path.GetFileName(path)!)];

    /// <summary>Path of a file in it; folders on the way are made.</summary>
    public string File(params ReadOnlySpan<string> parts)
    {
        var path = System.IO.Path.Combine([Path, .. parts]);
        Directory.CreateDirectory(System.IO.Path.GetDirectoryName(path)!);
        return path;
    }

    public void Copy(string source, params string[] names)
    {
        foreach (var name in names)
            System.IO.File.Copy(System.IO.Path.Combine(source, name), File(name), overwrite: true);
    }

    /// <summary>Writes a script that runs as a program.</summary>
    public string WriteProgram(string name, string script)
    {
        var path = Write(name, "#!/bin/sh\n" + script);
        if (!OperatingSystem.IsWindows())
            System.IO.File.SetUnixFileMode(path, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return path;
    }

    public string Write(string name, string text) => Write(name, System.Text.Encoding.UTF8.GetBytes(text));

    public string Write(string name, byte[] bytes)
    {
        System.IO.File.WriteAllBytes(File(name.Split('/')), bytes);
        return File(name.Split('/'));
    }

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
