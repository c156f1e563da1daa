namespace PyramidFlow.Tests.Tokenizers;

internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("pyramidflow-tokenizers-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Copy(string source, params string[] names)
    {
        foreach (var name in names)
            System.IO.File.Copy(System.IO.Path.Combine(source, name), File(name), overwrite: true);
    }

    public void Write(string name, string text) => System.IO.File.WriteAllText(File(name), text);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
