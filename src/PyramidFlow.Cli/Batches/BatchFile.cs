using System.Text.Json;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Batches;

/// <summary>
/// A file of prompts. <c>.txt</c>: one a line. <c>.jsonl</c>: a text or an object on each line. <c>.json</c>: a list of these, or
/// an object whose keys name the items. It is kept as bytes, and an item is read when it is asked for.
/// </summary>
internal sealed class BatchFile
{
    private const long MaxBytes = 512L << 20;

    private readonly byte[] bytes;
    private readonly bool isText;

    private BatchFile(string path, byte[] bytes)
    {
        (Path, this.bytes) = (path, bytes);
        var extension = System.IO.Path.GetExtension(path).ToLowerInvariant();
        isText = extension == ".txt";
        Entries = extension == ".json" ? JsonEntries.Of(path, bytes) : LineEntries.Of(bytes);
    }

    public string Path { get; }

    /// <summary>The items, in order.</summary>
    public IReadOnlyList<BatchEntry> Entries { get; }

    /// <summary>Opens a file and finds its items.</summary>
    /// <exception cref="UsageException">It cannot be read, is no text or no JSON, or holds nothing.</exception>
    public static BatchFile Open(string path)
    {
        OutputFile.CheckInput(path, "--batch takes a file of prompts");
        if (System.IO.Path.GetExtension(path).ToLowerInvariant() is not (".json" or ".jsonl" or ".txt"))
            throw new UsageException($"cannot tell what {path} holds: name it .txt (a prompt on each line), .jsonl or .json");
        var file = new BatchFile(path, Read(path));
        return file.Entries.Count > 0 ? file : throw new UsageException($"{path} holds no prompt: write one on each line, or in JSON [\"a red ball\"]");
    }

    /// <summary>How to speak of an item: file, line, and key if it has one.</summary>
    public string Where(BatchEntry entry)
    {
        var line = $"{Path} line {entry.Line}";
        return entry.KeyStart < 0 || Key(entry) is not { } key ? line : $"{line} ('{StrictText.OneLine(key)}')";
    }

    /// <summary>Reads an item.</summary>
    /// <exception cref="FormatException">It is not what an item can be.</exception>
    public BatchItem Read(BatchEntry entry)
    {
        if (entry.IsRepeated)
            throw new FormatException("this key stands above already, and one name is one file: give it another");
        var value = bytes.AsMemory(entry.Start, entry.Length);
        if (isText)
            return new BatchItem(new ClipArguments { Prompt = Text(value.Span) }, null);
        try
        {
            using var json = StrictJson.Parse(value, new StrictJsonOptions(Written: true, RepeatedKeys: true));
            return BatchItems.Of(json.RootElement, entry.KeyStart < 0 ? null : Key(entry) ?? throw new FormatException("this key holds half of a character, or is not UTF-8: write whole characters"));
        }
        catch (MalformedTextException e)
        {
            // Lines of an item are counted from its own first one.
            throw new FormatException(e.IsNoJson ? $"{e.Reason}: write a text in quotes or an object" : e.Reason, e);
        }
    }

    private static byte[] Read(string path)
    {
        try
        {
            if (new FileInfo(path).Length > MaxBytes)
                throw new UsageException($"{path} is larger than {MaxBytes >> 20} MiB: split it");
            var bytes = File.ReadAllBytes(path);
            if (bytes is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..] || bytes.AsSpan().Contains((byte)0))
                throw new UsageException($"{path} is not UTF-8 text: save it as UTF-8");
            // A byte order mark; spaces keep the positions.
            if (bytes is [0xEF, 0xBB, 0xBF, ..])
                bytes.AsSpan(0, 3).Fill((byte)' ');
            return bytes;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new UsageException($"cannot read {path}: {e.Message}", e);
        }
    }

    private static string Text(ReadOnlySpan<byte> bytes)
    {
        try
        {
            return StrictText.Decode(bytes).Trim();
        }
        catch (MalformedTextException e)
        {
            throw new FormatException(e.Reason, e);
        }
    }

    // Null where it is no text.
    private string? Key(BatchEntry entry)
    {
        var reader = new Utf8JsonReader(bytes.AsSpan(entry.KeyStart));
        reader.Read();
        return JsonEntries.Name(ref reader);
    }
}
