using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Text;

/// <summary>
/// Encoded prompts on disk, one small file each, so that a prompt seen before needs no text encoder. Files are named after all
/// that the features depend on (<see cref="EncoderIdentity"/> and the text), appear whole or not at all, and are believed only
/// if they hold what their name promises. When they outgrow the folder's limit those unused for longest go.
/// </summary>
/// <param name="folder">Where; made when the first prompt is kept.</param>
/// <param name="identity">From <see cref="EncoderIdentity"/>.</param>
/// <param name="encoder">What encodes the prompts that are not there; tells the widths. It stays the caller's.</param>
/// <param name="type">Element type of the features.</param>
/// <param name="device">Where they are wanted.</param>
/// <param name="limit">Most bytes of all files together.</param>
internal sealed class PromptCache(string folder, byte[] identity, PromptEncoder encoder, ElementType type, Device device,
    long limit = PromptCache.DefaultLimit)
{
    /// <summary>Enough for about a thousand prompts of the released models.</summary>
    internal const long DefaultLimit = 256L << 20;

    private const int HeaderRoom = 1 << 16;
    private const string Tokens = "tokens", Pooled = "pooled", Key = "key", Digest = "sha256", Warnings = "warnings";

    /// <summary>The features of a prompt that was kept, in the caller's scope; null when it was not, or its file is not to be believed.</summary>
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
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or MalformedTextException)
        {
            // As if it were not there: the prompt is encoded, and the file written anew.
            return null;
        }
    }

    /// <summary>Keeps the features of one prompt.</summary>
    /// <returns>A sentence for the user when that could not be done; the features are as good without it.</returns>
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
        // Copies, for the file's pages go with it.
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
        // Prompts are nobody else's business.
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(folder);
        else
            Directory.CreateDirectory(folder, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
    }

    // Files that are not this cache's own are left alone.
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

/// <summary>What the features of a prompt depend on beside its text, in one number.</summary>
internal static class EncoderIdentity
{
    // Weights are too large to be read whole for this. Pieces all over the file tell apart what was trained further.
    private const long ReadWhole = 16 << 20;
    private const int Pieces = 64, PieceBytes = 4096;

    /// <summary>The identity of a checkpoint's tokenizers and text encoders, computed with in one type on one kind of device.</summary>
    internal static byte[] Of(CheckpointFolder folder, ElementType type, Device device)
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
