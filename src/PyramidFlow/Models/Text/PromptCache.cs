using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models;

/// <summary>
/// Cache of encoded prompts on disk, one file per prompt, so that a known prompt needs no text encoder. The name of a file is a hash of
/// everything the features depend on (<see cref="EncoderIdentity"/> and the text). Files are written atomically and used only if
/// their content matches their name and digest. Above the size limit, the least recently used files are deleted.
/// </summary>
/// <param name="folder">Folder of the cache; created when the first prompt is stored.</param>
/// <param name="identity">Result of <see cref="EncoderIdentity.Compute"/>.</param>
/// <param name="encoder">Prompt encoder, for the widths of features; the caller keeps ownership.</param>
/// <param name="type">Element type of the features.</param>
/// <param name="device">Device of the features.</param>
/// <param name="limit">Maximum total size of the files, bytes.</param>
internal sealed class PromptCache(string folder, byte[] identity, PromptEncoder encoder, ElementType type, Device device,
    long limit = PromptCache.DefaultLimit)
{
    /// <summary>Enough for about a thousand prompts of the released models.</summary>
    internal const long DefaultLimit = 256L << 20;

    private const int HeaderRoom = 1 << 16;
    private const string Tokens = "tokens", Pooled = "pooled", Key = "key", Digest = "sha256", Warnings = "warnings";

    /// <summary>Loads the features of a prompt into the caller's scope; null if the cache has no valid file for it.</summary>
    internal PromptFeatures? Find(string text)
    {
        var path = PathOf(text, out var key);
        var file = new FileInfo(path);
        var most = (PromptEncoder.MaxTokens * encoder.TokenWidth + encoder.PooledWidth) * type.Size() + HeaderRoom;
        if (!file.Exists || file.LinkTarget is not null || file.Length > most)
            return null;
        try
        {
            using var stored = SafetensorsFile.Open(path);
            var features = Read(stored, key);
            if (features is not null)
                File.SetLastWriteTimeUtc(path, DateTime.UtcNow);
            return features;
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException or MalformedTextException)
        {
            // A damaged file counts as missing: the prompt is encoded and the file is written again.
            return null;
        }
    }

    /// <summary>Stores the features of one prompt.</summary>
    /// <returns>A warning for the user if that failed, else null. The features stay valid.</returns>
    internal string? Keep(string text, PromptFeatures features)
    {
        var path = PathOf(text, out var key);
        var fresh = $"{path}.{Guid.NewGuid():N}";
        try
        {
            CreateFolder();
            Write(fresh, key, features);
            File.Move(fresh, path, overwrite: true);
            Trim();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return $"the encoded prompt could not be kept in {folder}: {e.Message}";
        }
        finally
        {
            if (Directory.Exists(folder))
                File.Delete(fresh);
        }
    }

    private PromptFeatures? Read(SafetensorsFile file, string key)
    {
        if (file.Entries.Count != 2 || file.Metadata.GetValueOrDefault(Key) != key
            || !file.Entries.TryGetValue(Tokens, out var tokens) || !file.Entries.TryGetValue(Pooled, out var pooled)
            || tokens.Type != type || pooled.Type != type
            || tokens.Shape is not [1, > 0 and <= PromptEncoder.MaxTokens, var width] || width != encoder.TokenWidth
            || pooled.Shape is not [1, var pooledWidth] || pooledWidth != encoder.PooledWidth
            || file.Metadata.GetValueOrDefault(Digest) != DigestOf(file.Bytes(Tokens), file.Bytes(Pooled)))
        {
            return null;
        }

        var warnings = StrictJson.Deserialize(file.Metadata.GetValueOrDefault(Warnings, "[]"), TextEncoderJson.Default.StringArray);
        using var scope = new TensorScope();
        // Copies, because the mapped pages are released with the file.
        var features = new PromptFeatures(file.Read(Tokens).Clone(), [(int)tokens.Shape[1]], file.Read(Pooled).Clone(), warnings);
        return features.AreFinite() ? (features with { Tokens = features.Tokens.To(device), Pooled = features.Pooled.To(device) }).KeepFrom(scope) : null;
    }

    private static void Write(string path, string key, PromptFeatures features)
    {
        using var scope = new TensorScope();
        var (tokens, pooled) = (features.Tokens.To(Device.Cpu).Contiguous(), features.Pooled.To(Device.Cpu).Contiguous());
        SafetensorsWriter.Write(path, [(Tokens, tokens), (Pooled, pooled)], new Dictionary<string, string>
        {
            [Key] = key,
            [Digest] = DigestOf(tokens.RawBytes(), pooled.RawBytes()),
            [Warnings] = JsonSerializer.Serialize([.. features.Warnings], TextEncoderJson.Default.StringArray),
        });
    }

    private string PathOf(string text, out string key)
    {
        key = Convert.ToHexStringLower(SHA256.HashData([.. identity, .. Encoding.UTF8.GetBytes(text)]));
        return Path.Combine(folder, key + ".safetensors");
    }

    private void CreateFolder()
    {
        // Prompts are private: only the user may read them.
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(folder);
        else
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    // Other files in the folder are not touched.
    private void Trim()
    {
        var kept = 0L;
        foreach (var file in new DirectoryInfo(folder).GetFiles("*.safetensors")
            .Where(file => file.Name.Length == 64 + ".safetensors".Length && file.Name[..64].All(char.IsAsciiHexDigitLower))
            .OrderByDescending(file => file.LastWriteTimeUtc))
        {
            kept += file.Length;
            if (kept > limit)
                file.Delete();
        }
    }

    private static string DigestOf(ReadOnlySpan<byte> tokens, ReadOnlySpan<byte> pooled)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        hash.AppendData(tokens);
        hash.AppendData(pooled);
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }
}

/// <summary>Hash of everything that the features of a prompt depend on except its text.</summary>
internal static class EncoderIdentity
{
    // Large weight files are sampled in pieces across the file, which is enough to detect further training.
    private const long ReadWhole = 16 << 20;
    private const int Pieces = 64, PieceBytes = 4096;

    /// <summary>Hashes a checkpoint's tokenizers and text encoders, the element type and the kind of device.</summary>
    internal static byte[] Compute(CheckpointFolder folder, ElementType type, Device device)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        Add(hash, FormattableString.Invariant($"{folder.Family} {type} {device.Type} {TorchRuntime.Version}"));
        foreach (var (tokenizer, encoder) in folder.Family.TextComponents)
        {
            AddFolder(hash, folder.Component(tokenizer).Folder);
            AddFolder(hash, folder.Component(encoder).Folder);
        }

        return hash.GetHashAndReset();
    }

    private static void AddFolder(IncrementalHash hash, string folder)
    {
        foreach (var file in new DirectoryInfo(folder).GetFiles().OrderBy(file => file.Name, StringComparer.Ordinal))
        {
            using var stream = new FileStream(file.FullName, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
            Add(hash, file.Name);
            AddNumber(hash, stream.Length);
            if (stream.Length > ReadWhole)
                AddNumber(hash, File.GetLastWriteTimeUtc(stream.SafeFileHandle).Ticks);
            AddContent(hash, stream);
        }
    }

    private static void AddContent(IncrementalHash hash, FileStream stream)
    {
        var buffer = new byte[stream.Length > ReadWhole ? PieceBytes : 1 << 16];
        for (var piece = 0; stream.Length > ReadWhole && piece < Pieces; piece++)
        {
            stream.Position = (stream.Length - PieceBytes) / (Pieces - 1) * piece;
            stream.ReadExactly(buffer);
            hash.AppendData(buffer);
        }

        while (stream.Length <= ReadWhole && stream.Read(buffer) is var read and > 0)
            hash.AppendData(buffer, 0, read);
    }

    private static void Add(IncrementalHash hash, string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        AddNumber(hash, bytes.Length);
        hash.AppendData(bytes);
    }

    private static void AddNumber(IncrementalHash hash, long number)
    {
        Span<byte> bytes = stackalloc byte[sizeof(long)];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, number);
        hash.AppendData(bytes);
    }
}
