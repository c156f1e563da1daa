using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Storage;

/// <summary>
/// API keys of a service, in a file that holds only their hashes. A key has 256 random bits, so a plain hash cannot be
/// reversed. The file is read again when it changes. Each hash maps to the owner of the key's videos: the key's name
/// with the first digits of its hash, so that a later key of the same name is another owner. Keys of older versions map
/// to their name alone and keep the videos filed under it.
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

    /// <summary>Opens the keys of a data folder.</summary>
    /// <param name="dataFolder">The folder; it is created with the first key.</param>
    public ApiKeys(string dataFolder) => path = Path.Combine(Path.GetFullPath(dataFolder), "keys.json");

    /// <summary>Names of all keys.</summary>
    /// <exception cref="ServiceException">The file is damaged. All members throw this.</exception>
    public IReadOnlyList<string> Names => [.. Read().Values.Select(NameOfOwner).Order(StringComparer.Ordinal)];

    /// <summary>
    /// Whether requests need a key: one exists, or existed since this object was created. Removing the last key does
    /// not open a running service.
    /// </summary>
    public bool InUse => wereInUse |= Read().Count > 0;

    /// <summary>Creates a key.</summary>
    /// <param name="name">Name of the key: letters, digits, <c>-</c>, <c>_</c> and <c>.</c>, at most 64.</param>
    /// <returns>The key; it cannot be retrieved again.</returns>
    /// <exception cref="ServiceOptionException">The name is invalid or taken.</exception>
    public string Add(string name)
    {
        if (name.Length is 0 or > 64 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            throw ServiceFault.KeyNameInvalid(name);
        var keys = new Dictionary<string, string>(Read());
        if (keys.Values.Any(owner => NameOfOwner(owner) == name))
            throw ServiceFault.KeyNameTaken(name);
        var key = Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)).Replace('+', '-').Replace('/', '_').TrimEnd('=');
        var hash = Hash(key);
        keys[hash] = name + Joint + hash[..OwnerDigits];
        Write(keys);
        return key;
    }

    /// <summary>Removes a key with immediate effect.</summary>
    /// <param name="name">Name of the key.</param>
    /// <returns>Whether the key existed.</returns>
    public bool Remove(string name)
    {
        var before = Read();
        var keys = before.Where(key => NameOfOwner(key.Value) != name).ToDictionary();
        if (keys.Count == before.Count)
            return false;
        Write(keys);
        return true;
    }

    /// <summary>Returns the name of a key; null when the key is unknown.</summary>
    /// <param name="key">What a client sent.</param>
    public string? NameOf(string key) => OwnerOf(key) is { } owner ? NameOfOwner(owner) : null;

    /// <summary>
    /// Returns the owner of a key; null when the key is unknown. The lookup is by hash, so its duration reveals nothing
    /// about the key.
    /// </summary>
    /// <param name="key">What a client sent.</param>
    internal string? OwnerOf(string key) => Read().GetValueOrDefault(Hash(key));

    /// <summary>Whether an owner may use the service: the owner's key exists, or no key is needed.</summary>
    internal bool Allows(Owner owner) => !InUse || Read().ContainsValue(owner.Name);

    /// <summary>
    /// Owners of all keys; the same object until they change. Null without a file, which may be unavailable together
    /// with its folder.
    /// </summary>
    internal IReadOnlyCollection<string>? Owners => Read() is { } keys && File.Exists(path) ? keys.Values : null;

    /// <summary>Returns the key name of an owner.</summary>
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
            throw ServiceFault.KeysDamaged(path, e);
        }
    }

    private void Write(Dictionary<string, string> keys)
    {
        VideoFolder.CreatePrivate(Path.GetDirectoryName(path)!);
        var partial = $"{path}.partial-{Environment.ProcessId}";
        File.WriteAllBytes(partial, JsonSerializer.SerializeToUtf8Bytes(keys, KeysJson.Default.DictionaryStringString));
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(partial, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.Move(partial, path, overwrite: true);
        lock (gate)
            known = new(default, []);
    }

    // The content of the file at a given time stamp and length.
    private sealed record Known((DateTime Written, long Length) Stamp, Dictionary<string, string> OwnerOfHash);
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class KeysJson : JsonSerializerContext;
