using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Writes an annotation file again with a file's path added to each line; all other keys stay.</summary>
internal static class AnnotationRewriter
{
    private static readonly string[] Paths = ["video", "image", "latent", "text_fea"];
    private static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

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
            using (var writer = new StreamWriter(partial))
            {
                foreach (var (number, text) in AnnotationFile.Lines(source))
                {
                    if (!files.TryGetValue(number, out var file))
                        continue;
                    var line = JsonNode.Parse(text)!.AsObject();
                    foreach (var path in Paths)
                        Move(line, path, from, to);
                    line[key] = Path.GetRelativePath(to, file).Replace('\\', '/');
                    writer.Write(line.ToJsonString(Readable) + "\n");
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

    // Relative paths are seen from the annotation file's folder.
    private static void Move(JsonObject line, string key, string from, string to)
    {
        if (from != to && line[key] is JsonValue value && value.TryGetValue<string>(out var path) && !Path.IsPathRooted(path))
            line[key] = Path.GetRelativePath(to, Path.GetFullPath(path, from)).Replace('\\', '/');
    }
}
