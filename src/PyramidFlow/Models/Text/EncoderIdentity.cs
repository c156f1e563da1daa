using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using PyramidFlow.Hub;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Text;

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
        foreach (var (tokenizer, encoder) in folder.Family.TextComponents())
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
