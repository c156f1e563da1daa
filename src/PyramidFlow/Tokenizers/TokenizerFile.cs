using System.Text.Json;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tokenizers;

/// <summary>Reads the files of a tokenizer folder; every fault becomes an error that names the file.</summary>
internal static class TokenizerFile
{
    // Real vocabularies are a few MB; the largest multilingual one in use is under 20 MB.
    private const long MaxBytes = 128 << 20;

    /// <summary>Reads a file and hands its bytes to a parser.</summary>
    public static T Read<T>(string path, Func<byte[], T> parse)
    {
        try
        {
            var length = new FileInfo(path).Length;
            if (length > MaxBytes)
                throw new InvalidDataException($"is {length} bytes; a tokenizer file has at most {MaxBytes}");
            return parse(WithoutByteOrderMark(File.ReadAllBytes(path)));
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException($"{path} does not exist", e);
        }
        catch (Exception e) when (e is JsonException or InvalidDataException or InvalidOperationException
            or FormatException or KeyNotFoundException)
        {
            throw new CheckpointException($"{path} is not a usable tokenizer file: {e.Message}", e);
        }
    }

    /// <summary>Reads a small JSON object; an absent file gives an empty object.</summary>
    public static JsonElement ReadSettings(string path) => File.Exists(path)
        ? Read(path, bytes =>
        {
            using var document = JsonDocument.Parse(bytes);
            return document.RootElement.ValueKind == JsonValueKind.Object
                ? document.RootElement.Clone()
                : throw new InvalidDataException("its top level is not an object");
        })
        : JsonElement.Parse("{}");

    /// <summary>A special token's text, written as a string or as an object with <c>content</c>.</summary>
    public static string? SpecialToken(JsonElement settings, string name)
    {
        if (!settings.TryGetProperty(name, out var value))
            return null;
        if (value.ValueKind == JsonValueKind.Object && value.TryGetProperty("content", out var content))
            value = content;
        return value.ValueKind == JsonValueKind.String ? value.GetString() : null;
    }

    /// <summary>A boolean member, or <paramref name="otherwise"/> when absent or null.</summary>
    public static bool Flag(JsonElement element, string name, bool otherwise = false) =>
        element.TryGetProperty(name, out var value) && value.ValueKind != JsonValueKind.Null
            ? value.GetBoolean()
            : otherwise;

    private static byte[] WithoutByteOrderMark(byte[] bytes) =>
        bytes.AsSpan().StartsWith("\uFEFF"u8) ? bytes[3..] : bytes;
}
