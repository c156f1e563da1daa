using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// API keys of a service, in a file that holds their hashes only. A key has 256 random bits, so a plain hash cannot be
/// guessed back. The file is read anew when it changes. Beside each hash stands the owner of the key's videos: the key's
/// name with the beginning of its hash, so that another key of the same name is another owner. Keys of older versions
/// stand there with their name alone, and keep the videos that are filed under it.
/// </summary>
public sealed class ApiKeys
{
    private const string Prefix = "pf_";
    private const char Joint = '#';
    private const int OwnerDigits = 16;
    private readonly string path;
    private readonly Lock gate = new();
    private Known known = new(default, []);
    private volatile bool wereInUse;

    /// <summary>Keys of a data folder.</summary>
    /// <param name="dataFolder">The folder; made when the first key is.</param>
    public ApiKeys(string dataFolder) => path = Path.Combine(Path.GetFullPath(dataFolder), "keys.json");

    /// <summary>Names of all keys.</summary>
    /// <exception cref="KeysException">The file is damaged; so for everything here.</exception>
    public IReadOnlyList<string> Names => [.. Read().Values.Select(NameOfOwner).Order(StringComparer.Ordinal)];

    /// <summary>
    /// Whether everybody needs a key: there is one, or there was one since this object was made. The removal of the last
    /// key does not open a running service.
    /// </summary>
    public bool InUse => wereInUse |= Read().Count > 0;

    /// <summary>Makes a key.</summary>
    /// <param name="name">Who it is for: letters, digits, <c>-</c>, <c>_</c> and <c>.</c>, at most 64.</param>
    /// <returns>The key; it is shown this once and cannot be found again.</returns>
    /// <exception cref="ArgumentException">The name is impossible or taken.</exception>
    public string Add(string name)
    {
        if (name.Length is 0 or > 64 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            throw new ArgumentException($"'{name}' cannot be the name of a key: use up to 64 letters, digits, '-', '_' and '.'");
        var keys = new Dictionary<string, string>(Read());
        if (keys.Values.Any(owner => NameOfOwner(owner) == name))
            throw new ArgumentException($"there is a key '{name}' already: remove it first, or take another name");
        var key = Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)).Replace('+', '-').Replace('/', '_').TrimEnd('=');
        var hash = Hash(key);
        keys[hash] = name + Joint + hash[..OwnerDigits];
        Write(keys);
        return key;
    }

    /// <summary>Makes a key worthless at once.</summary>
    /// <param name="name">Its name.</param>
    /// <returns>Whether there was one.</returns>
    public bool Remove(string name)
    {
        var before = Read();
        var keys = before.Where(key => NameOfOwner(key.Value) != name).ToDictionary();
        if (keys.Count == before.Count)
            return false;
        Write(keys);
        return true;
    }

    /// <summary>The name of a key; null when it is none.</summary>
    /// <param name="key">What a client sent.</param>
    public string? NameOf(string key) => OwnerOf(key) is { } owner ? NameOfOwner(owner) : null;

    /// <summary>The owner that a key stands for; null when it is none. It is looked up by its hash, so that the time taken tells nothing of it.</summary>
    /// <param name="key">What a client sent.</param>
    internal string? OwnerOf(string key) => Read().GetValueOrDefault(Hash(key));

    /// <summary>Whether an owner may use the service: their key is there, or no key is needed.</summary>
    internal bool Allows(Owner owner) => !InUse || Read().ContainsValue(owner.Name);

    /// <summary>Owners of all keys, the same object until they change; null when there is no file, which may be away with its folder.</summary>
    internal IReadOnlyCollection<string>? Owners => Read() is { } keys && File.Exists(path) ? keys.Values : null;

    /// <summary>The name of the key that an owner stands for.</summary>
    internal static string NameOfOwner(string owner) => owner.Split(Joint)[0];

    private static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    private Dictionary<string, string> Read()
    {
        lock (gate)
        {
            var file = new FileInfo(path);
            var stamp = file.Exists ? (file.LastWriteTimeUtc, file.Length) : default;
            if (stamp != known.Stamp)
                known = new(stamp, file.Exists ? Parse(File.ReadAllBytes(path)) : []);
            return known.OwnerOfHash;
        }
    }

    private Dictionary<string, string> Parse(byte[] json)
    {
        try
        {
            return StrictJson.Deserialize(json, KeysJson.Default.DictionaryStringString);
        }
        catch (MalformedTextException e)
        {
            throw new KeysException($"{path} is damaged ({e.Message}): mend it, or delete it and make new keys with 'pyramidflow keys add NAME'", e);
        }
    }

    private void Write(Dictionary<string, string> keys)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        var partial = $"{path}.partial-{Environment.ProcessId}";
        File.WriteAllBytes(partial, JsonSerializer.SerializeToUtf8Bytes(keys, KeysJson.Default.DictionaryStringString));
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(partial, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.Move(partial, path, overwrite: true);
        lock (gate)
            known = new(default, []);
    }

    // What the file said when it had this time and length.
    private sealed record Known((DateTime Written, long Length) Stamp, Dictionary<string, string> OwnerOfHash);
}

/// <summary>The file of keys is damaged; the message is one sentence with its path and the fix.</summary>
public sealed class KeysException : Exception
{
    /// <summary>With one sentence.</summary>
    /// <param name="message">The sentence.</param>
    /// <param name="inner">What lies behind it.</param>
    public KeysException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class KeysJson : JsonSerializerContext;
