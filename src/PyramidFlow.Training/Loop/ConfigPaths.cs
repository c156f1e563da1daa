using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Hub;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Paths that a training configuration names: they are seen from the folder of the configuration's file.</summary>
internal static class ConfigPaths
{
    /// <summary>A file or folder.</summary>
    /// <param name="config">File of the configuration.</param>
    /// <param name="key">Key that names it, for the message.</param>
    /// <param name="value">The path as written.</param>
    /// <returns>The full path; whoever reads it says so where nothing is there.</returns>
    /// <exception cref="ArgumentException">Nothing is there, but something is at that place in the working folder.</exception>
    internal static string File(string config, string key, string value)
    {
        if (value.Length == 0)
            throw new ArgumentException($"{config}: {key} is empty: name a file or folder");
        var folder = FolderOf(config);
        var path = Path.GetFullPath(value, folder);
        if (Path.Exists(path) || Path.IsPathRooted(value) || !Path.Exists(value))
            return path;
        var written = Path.GetRelativePath(folder, Path.GetFullPath(value)).Replace('\\', '/');
        throw new ArgumentException($"{config}: {key} {value} is in the working folder, but paths are seen from the folder of the configuration: write {written}");
    }

    /// <summary>A model: a folder, or the name of one that is installed.</summary>
    /// <inheritdoc cref="File"/>
    /// <exception cref="ArgumentException">There is neither.</exception>
    internal static string Model(string config, string key, string value)
    {
        if (FolderOrName(config, key, value) is { } found && Path.Exists(found))
            return found;
        var known = string.Join(", ", ModelCatalog.Installed().Select(model => model.Name));
        throw new ArgumentException($"{config}: {key} {value} is neither a folder, as seen from the configuration's, nor a model that is installed ({(known.Length > 0 ? known : "there is none")}): "
            + "name one of them, or get a released one with 'models download'");
    }

    /// <summary>A model's folder, another folder, a file, or the name of an installed model.</summary>
    /// <inheritdoc cref="File"/>
    internal static string FolderOrName(string config, string key, string value)
    {
        var here = value.Length > 0 && Path.Exists(Path.GetFullPath(value, FolderOf(config)));
        if (here)
            return File(config, key, value);
        // A name without a folder is looked for as on the command line: in the working folder too.
        var isName = Path.GetFileName(value) == value;
        return isName && CheckpointFolder.IsCheckpoint(value) ? Path.GetFullPath(value) : ModelCatalog.FindInstalled(value) ?? File(config, key, value);
    }

    /// <summary>Copies a configuration to another folder; paths in it stay those of the same files. Nothing is done where both are one file.</summary>
    /// <param name="config">File of the configuration, which was read before.</param>
    /// <param name="target">The copy.</param>
    /// <param name="keys">Keys of paths, such as <c>data.annotations</c>.</param>
    internal static void Copy(string config, string target, params ReadOnlySpan<string> keys)
    {
        var (from, to) = (FolderOf(config), FolderOf(target));
        if (Path.GetFullPath(config) == Path.GetFullPath(target))
            return;
        var bytes = StrictText.ReadBytes(config);
        using var copy = new MemoryStream();
        var written = 0;
        foreach (var (start, end, value) in Texts(bytes, keys))
        {
            // A name stays one; a path that leads nowhere stays as well.
            if (Path.IsPathRooted(value) || !Path.Exists(Path.GetFullPath(value, from)))
                continue;
            var moved = Path.GetRelativePath(to, Path.GetFullPath(value, from)).Replace('\\', '/');
            copy.Write(bytes.AsSpan(written, start - written));
            copy.Write(Encoding.UTF8.GetBytes($"\"{JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(moved)}\""));
            written = end;
        }

        copy.Write(bytes.AsSpan(written));
        System.IO.File.WriteAllBytes(target, copy.ToArray());
    }

    // Where the texts under some keys stand.
    private static List<(int Start, int End, string Value)> Texts(byte[] bytes, ReadOnlySpan<string> keys)
    {
        var texts = new List<(int, int, string)>();
        var mark = bytes is [0xEF, 0xBB, 0xBF, ..] ? 3 : 0;
        var reader = new Utf8JsonReader(bytes.AsSpan(mark), StrictJson.WrittenReader);
        var path = new Stack<string>();
        var key = "";
        while (reader.Read())
        {
            switch (reader.TokenType)
            {
                case JsonTokenType.StartObject:
                    path.Push(key.Length == 0 ? "" : key + ".");
                    break;
                case JsonTokenType.EndObject:
                    key = path.Pop().TrimEnd('.');
                    break;
                case JsonTokenType.PropertyName:
                    key = path.Peek() + reader.GetString();
                    break;
                case JsonTokenType.String when keys.Contains(key):
                    texts.Add((mark + (int)reader.TokenStartIndex, mark + (int)reader.BytesConsumed, reader.GetString()!));
                    break;
            }
        }

        return texts;
    }

    private static string FolderOf(string file) => Path.GetDirectoryName(Path.GetFullPath(file))!;
}
