using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Writes an annotation file again with a file's path added to each line; all other keys stay.</summary>
internal static class AnnotationRewriter
{
    private static readonly string[] Paths = ["video", "image", "latent", "text_fea"];

    /// <summary>Writes the file; it appears when it is whole.</summary>
    /// <param name="source">Annotation file to read.</param>
    /// <param name="target">Annotation file to write, perhaps the same.</param>
    /// <param name="key">Key to add.</param>
    /// <param name="files">Full path of the file of each line, by the line's number; lines that are not here are left out.</param>
    /// <returns>Number of lines written.</returns>
    /// <exception cref="DataException">The target cannot be written.</exception>
    public static int Write(string source, string target, string key, IReadOnlyDictionary<int, string> files)
    {
        var (from, to) = (Folder(source), Folder(target));
        var partial = $"{target}.partial-{Environment.ProcessId}";
        try
        {
            var lines = 0;
            using (var writer = File.Create(partial))
            {
                foreach (var (number, json) in AnnotationFile.Lines(source))
                {
                    if (!files.TryGetValue(number, out var file))
                        continue;
                    WriteLine(writer, json.Span, key, Relative(to, file), from, to);
                    lines++;
                }
            }

            File.Move(partial, target, overwrite: true);
            return lines;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            File.Delete(partial);
            throw new DataException($"cannot write {target}: {e.Message}", e);
        }
    }

    private static string Folder(string file) => Path.GetDirectoryName(Path.GetFullPath(file))!;

    private static string Relative(string to, string file) => Path.GetRelativePath(to, file).Replace('\\', '/');

    // What is not a path stays as it is written, also what JSON does not know but Python writes, such as NaN.
    private static void WriteLine(Stream writer, ReadOnlySpan<byte> json, string key, string file, string from, string to)
    {
        writer.WriteByte((byte)'{');
        foreach (var (name, written, value) in StrictJson.Members(json))
        {
            if (name == key)
                continue;
            writer.Write(json[written]);
            writer.WriteByte((byte)':');
            if (Paths.Contains(name) && from != to && Moved(json[value], from, to) is { } moved)
                writer.Write(moved);
            else
                WriteCompact(writer, json[value]);
            writer.WriteByte((byte)',');
        }

        writer.Write(Encoding.UTF8.GetBytes($"{Quoted(key)}:{Quoted(file)}}}\n"));
    }

    // Without the space between tokens.
    private static void WriteCompact(Stream writer, ReadOnlySpan<byte> value)
    {
        var isText = false;
        for (var i = 0; i < value.Length; i++)
        {
            if (value[i] == '"')
                isText = !isText;
            if (!isText && value[i] is ((byte)' ' or (byte)'\t' or (byte)'\r'))
                continue;
            writer.WriteByte(value[i]);
            if (isText && value[i] == '\\')
                writer.WriteByte(value[++i]);
        }
    }

    // Relative paths are seen from the annotation file's folder.
    private static byte[]? Moved(ReadOnlySpan<byte> value, string from, string to)
    {
        var reader = new Utf8JsonReader(value);
        return reader.Read() && reader.TokenType == JsonTokenType.String && reader.GetString()! is var path && !Path.IsPathRooted(path)
            ? Encoding.UTF8.GetBytes(Quoted(Relative(to, Path.GetFullPath(path, from))))
            : null;
    }

    private static string Quoted(string text) => $"\"{JavaScriptEncoder.UnsafeRelaxedJsonEscaping.Encode(text)}\"";
}
