using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>Input and output of an extraction, and the part of the items to process.</summary>
/// <param name="Annotations">The annotation file, the folder or the shards to read.</param>
/// <param name="Output">The annotation file to write; may be the same.</param>
/// <param name="Folder">Folder of the extracted files; null is a folder next to the output.</param>
/// <param name="Part">Part to process, from 1. Parts may run in parallel on several machines or GPUs.</param>
/// <param name="Parts">Number of parts; with more than one, no annotation file is written: a last run without parts does that.</param>
public sealed record ExtractionTarget(string Annotations, string Output, string? Folder = null, int Part = 1, int Parts = 1)
{
    /// <summary>File that lists the items that were left out, beside the output; each part has its own.</summary>
    public string LeftOut => Path.Combine(Path.GetDirectoryName(Output) ?? "",
        $"{Path.GetFileNameWithoutExtension(Output)}-left-out{(Parts > 1 ? string.Create(CultureInfo.InvariantCulture, $"-{Part}of{Parts}") : "")}.jsonl");

    /// <summary>Whether an item belongs to this part.</summary>
    internal bool Has(int index) => index % Parts == Part - 1;

    /// <summary>The full path of the folder for extracted files; creates it if it is missing.</summary>
    internal string MakeFolder(string kind)
    {
        var folder = Folder ?? Path.Combine(Path.GetDirectoryName(Path.GetFullPath(Output))!, $"{Path.GetFileNameWithoutExtension(Output)}-{kind}");
        try
        {
            return Directory.CreateDirectory(folder).FullName;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw TrainingFault.FolderNotMade(folder, e);
        }
    }

    /// <exception cref="TrainingException">The part is invalid.</exception>
    internal void Check()
    {
        if (Part < 1 || Parts < Part)
            throw TrainingFault.PartImpossible(Part, Parts);
    }
}

/// <summary>Progress of an extraction.</summary>
/// <param name="Phase">The current phase.</param>
/// <param name="Done">Number of processed items.</param>
/// <param name="Total">Number of items.</param>
public sealed record ExtractionProgress(string Phase, int Done, int Total);

/// <summary>Result of an extraction.</summary>
/// <param name="Made">Number of written files.</param>
/// <param name="Kept">Number of files that already existed.</param>
/// <param name="Lines">Number of lines in the new annotation file; null if only a part was processed.</param>
/// <param name="Warnings">Messages for the user.</param>
public sealed record ExtractionResult(int Made, int Kept, int? Lines, IReadOnlyList<string> Warnings);

/// <summary>Short hashes that identify the inputs of a file.</summary>
internal static class Fingerprint
{
    private const int Digits = 16;

    /// <summary>Hash of texts, 16 hexadecimal digits.</summary>
    public static string Compute(params ReadOnlySpan<string> parts) =>
        Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(string.Join('\n', parts))))[..Digits];

    /// <summary>Hash of models: names and shapes of all weights, and the values of the first and the last weight.</summary>
    public static string Compute(params IEnumerable<Module> models)
    {
        using var noGrad = NoGrad.Begin();
        var parts = new List<string>();
        foreach (var model in models)
        {
            var weights = model.NamedParameters().ToList();
            parts.AddRange(weights.Select(weight => $"{weight.Key} {string.Join(',', weight.Parameter.Value.Shape)} {weight.Parameter.Value.Type}"));
            parts.Add(Numbers(weights[0].Parameter.Value));
            parts.Add(Numbers(weights[^1].Parameter.Value));
        }

        return Compute([.. parts]);
    }

    /// <summary>Derives the seed of an item.</summary>
    public static ulong Seed(ulong seed, string name) => ulong.Parse(Compute(seed.ToString(CultureInfo.InvariantCulture), name), NumberStyles.HexNumber, CultureInfo.InvariantCulture);

    private static string Numbers(Tensor weight)
    {
        using var scope = new TensorScope();
        return Convert.ToHexString(SHA256.HashData(weight.Detach().To(Device.Cpu).Contiguous().RawBytes()));
    }
}

/// <summary>Copies an annotation file and adds a path to each line; all other keys are kept.</summary>
internal static class AnnotationRewriter
{
    private static readonly string[] Paths = ["video", "image", "latent", "text_fea"];

    /// <summary>Writes the file; it is replaced when the new one is complete.</summary>
    /// <param name="source">Annotation file, folder or shards to read.</param>
    /// <param name="items">What was read of it; the files of a folder may have others since.</param>
    /// <param name="target">Annotation file to write; may be the source.</param>
    /// <param name="key">Key to add.</param>
    /// <param name="files">Full path for each item, by file and line number; other lines are left out.</param>
    /// <returns>Number of lines written.</returns>
    /// <exception cref="TrainingException">The target cannot be written.</exception>
    public static int Write(string source, IEnumerable<Annotation> items, string target, string key, IReadOnlyDictionary<(string, int), string> files)
    {
        var to = AnnotationFile.FolderOf(target);
        // Lines of shards have no paths.
        var from = ShardAddress.IsShard(source) ? to : AnnotationFile.FolderOf(source);
        var partial = $"{target}.partial-{Environment.ProcessId}";
        try
        {
            var lines = 0;
            using (var writer = File.Create(partial))
            {
                foreach (var (item, json) in Lines(source, items))
                {
                    if (!files.TryGetValue(item, out var file))
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
            throw TrainingFault.AnnotationsNotWritten(target, e);
        }
    }

    private static IEnumerable<((string, int) Item, ReadOnlyMemory<byte> Utf8)> Lines(string source, IEnumerable<Annotation> items) =>
        ShardAddress.IsShard(source) ? ShardItems.Lines(items)
        : Directory.Exists(source) ? TextFolder.Lines(items)
        : AnnotationFile.Lines(source).Select(line => ((source, line.Number), line.Utf8));

    private static string Relative(string to, string file) => Path.GetRelativePath(to, file).Replace('\\', '/');

    // Values other than paths are copied verbatim, including NaN, which Python writes but JSON forbids.
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

        writer.Write(Encoding.UTF8.GetBytes($"{ReadableJson.Quote(key)}:{ReadableJson.Quote(file)}}}\n"));
    }

    // Removes the whitespace between tokens.
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

    // Relative paths are relative to the folder of the annotation file.
    private static byte[]? Moved(ReadOnlySpan<byte> value, string from, string to)
    {
        var reader = new Utf8JsonReader(value);
        return reader.Read() && reader.TokenType == JsonTokenType.String && reader.GetString()! is var path && !Path.IsPathRooted(path)
            ? Encoding.UTF8.GetBytes(ReadableJson.Quote(Relative(to, Path.GetFullPath(path, from))))
            : null;
    }
}
