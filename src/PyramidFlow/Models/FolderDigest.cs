using System.Security.Cryptography;
using System.Text;

namespace PyramidFlow.Models;

/// <summary>Digest of the files of a folder or a LoRA, for runs that go on with what they began with and for processes on several machines that compare their copies of a model.</summary>
internal static class FolderDigest
{
    private const int Places = 16;
    private const int PlaceBytes = 4096;

    /// <summary>
    /// The digest of names, lengths and, of each file, <see cref="Places"/> evenly spaced places: a model of 20 GB takes milliseconds.
    /// Another checkpoint differs everywhere; a single changed byte may go unseen.
    /// </summary>
    /// <param name="folder">The folder; links are followed and subfolders are left out.</param>
    public static string Of(string folder) => OfFiles(Directory.EnumerateFiles(folder).Where(path => !Path.GetFileName(path).StartsWith('.')).Order(StringComparer.Ordinal));

    /// <summary>The same of some files.</summary>
    /// <param name="paths">The files, in an order that does not depend on the machine.</param>
    public static string OfFiles(IEnumerable<string> paths)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        var buffer = new byte[PlaceBytes];
        foreach (var path in paths)
        {
            using var file = File.OpenHandle(path);
            var length = RandomAccess.GetLength(file);
            hash.AppendData(Encoding.UTF8.GetBytes(FormattableString.Invariant($"{Path.GetFileName(path)} {length}\n")));
            for (var place = 0; place < Places; place++)
            {
                var read = RandomAccess.Read(file, buffer, Math.Max(0, length - PlaceBytes) * place / (Places - 1));
                hash.AppendData(buffer, 0, read);
                if (length <= PlaceBytes)
                    break;
            }
        }

        return Convert.ToHexStringLower(hash.GetCurrentHash().AsSpan(0, 12));
    }
}
