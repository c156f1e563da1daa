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
    private const string AdminRole = "admin";
    private const char Joint = '#';
    private const int OwnerDigits = 16;
    private readonly string path;
    private readonly Lock gate = new();
    private Known known = new(default, [], [], []);
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
    /// <param name="limits">Its limits; null for those of the service.</param>
    /// <param name="isAdmin">Whether it may see and stop the videos of all keys, and see workers, keys and disk.</param>
    /// <returns>The key; it cannot be retrieved again.</returns>
    /// <exception cref="ServiceOptionException">The name is invalid or taken.</exception>
    public string Add(string name, KeyLimits? limits = null, bool isAdmin = false)
    {
        if (name.Length is 0 or > 64 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            throw ServiceFault.KeyNameInvalid(name);
        var now = ReadAll();
        var keys = new Dictionary<string, string>(now.OwnerOfHash);
        if (keys.Values.Any(owner => NameOfOwner(owner) == name))
            throw ServiceFault.KeyNameTaken(name);
        var key = Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)).Replace('+', '-').Replace('/', '_').TrimEnd('=');
        var hash = Hash(key);
        keys[hash] = name + Joint + hash[..OwnerDigits];
        Write(keys, With(now.LimitsOfOwner, keys[hash], limits), isAdmin ? [.. now.Admins, keys[hash]] : now.Admins);
        return key;
    }

    /// <summary>Removes a key with immediate effect.</summary>
    /// <param name="name">Name of the key.</param>
    /// <returns>Whether the key existed.</returns>
    public bool Remove(string name)
    {
        var before = ReadAll();
        var keys = before.OwnerOfHash.Where(key => NameOfOwner(key.Value) != name).ToDictionary();
        if (keys.Count == before.OwnerOfHash.Count)
            return false;
        Write(keys, before.LimitsOfOwner, before.Admins);
        return true;
    }

    /// <summary>Sets the limits of a key with immediate effect, in place of those that it has.</summary>
    /// <param name="name">Name of the key.</param>
    /// <param name="limits">The limits; what is null is that of the service.</param>
    /// <returns>Whether the key exists.</returns>
    public bool Limit(string name, KeyLimits limits)
    {
        var now = ReadAll();
        if (now.OwnerOfHash.Values.FirstOrDefault(owner => NameOfOwner(owner) == name) is not { } found)
            return false;
        Write(now.OwnerOfHash, With(now.LimitsOfOwner, found, limits), now.Admins);
        return true;
    }

    /// <summary>Returns the limits of a key by its name.</summary>
    public KeyLimits LimitsOf(string name) => ReadAll() is var all && all.OwnerOfHash.Values.FirstOrDefault(owner => NameOfOwner(owner) == name) is { } found
        ? all.LimitsOfOwner.GetValueOrDefault(found, KeyLimits.None) : KeyLimits.None;

    /// <summary>Whether the key of a name is one of an administrator.</summary>
    public bool IsAdmin(string name) => ReadAll().Admins.Any(owner => NameOfOwner(owner) == name);

    /// <summary>Whether an owner is an administrator. Without keys nobody is.</summary>
    internal bool IsAdmin(Owner owner) => ReadAll() is var all && all.Admins.Contains(owner.Name) && all.OwnerOfHash.ContainsValue(owner.Name);

    /// <summary>Returns the name of a key; null when the key is unknown.</summary>
    /// <param name="key">What a client sent.</param>
    public string? NameOf(string key) => OwnerOf(key) is { } owner ? NameOfOwner(owner) : null;

    /// <summary>
    /// Returns the owner of a key; null when the key is unknown. The lookup is by hash, so its duration reveals nothing
    /// about the key.
    /// </summary>
    /// <param name="key">What a client sent.</param>
    internal string? OwnerOf(string key) => Read().GetValueOrDefault(Hash(key));

    /// <summary>Returns the limits of an owner.</summary>
    internal KeyLimits LimitsOf(Owner owner) => ReadAll().LimitsOfOwner.GetValueOrDefault(owner.Name, KeyLimits.None);

    /// <summary>Whether an owner may use the service: the owner's key exists, or no key is needed.</summary>
    internal bool Allows(Owner owner) => !InUse || Read().ContainsValue(owner.Name);

    /// <summary>
    /// Owners of all keys; the same object until they change. Null without a file, which may be unavailable together
    /// with its folder.
    /// </summary>
    internal IReadOnlyCollection<string>? Owners => Read() is { } keys && File.Exists(path) ? keys.Values : null;

    /// <summary>Returns with what the owners of all keys of a name begin, removed ones too.</summary>
    internal static string OwnersOf(string name) => name + Joint;

    /// <summary>Returns the key name of an owner.</summary>
    internal static string NameOfOwner(string owner) => owner.Split(Joint)[0];

    private static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    private Dictionary<string, string> Read() => ReadAll().OwnerOfHash;

    private Known ReadAll()
    {
        lock (gate)
        {
            var file = new FileInfo(path);
            var stamp = file.Exists ? (file.LastWriteTimeUtc, file.Length) : default;
            if (stamp != known.Stamp)
                known = file.Exists ? Parse(stamp, File.ReadAllBytes(path)) : new(stamp, [], [], []);
            return known;
        }
    }

    // A key with neither limits nor a role is its owner alone, as versions before limits wrote it and read it.
    private Known Parse((DateTime Written, long Length) stamp, byte[] json)
    {
        try
        {
            var (owners, limits, admins) = (new Dictionary<string, string>(), new Dictionary<string, KeyLimits>(), new HashSet<string>());
            foreach (var (hash, entry) in StrictJson.Deserialize(json, KeysJson.Default.DictionaryStringJsonElement))
            {
                if (entry.ValueKind == JsonValueKind.String)
                {
                    owners[hash] = entry.GetString()!;
                    continue;
                }

                var limited = StrictJson.Deserialize(entry.GetRawText(), KeysJson.Default.KeyEntry);
                owners[hash] = limited.Owner ?? throw new MalformedTextException(0, "a key has no owner");
                limits[limited.Owner] = new KeyLimits(limited.MaxActive, limited.MaxPerDay, limited.MaxPerMinute);
                if (limited.Role is AdminRole)
                    admins.Add(limited.Owner);
                else if (limited.Role is not null)
                    throw new MalformedTextException(0, $"a key has the role {limited.Role}, which this version does not know");
            }

            return new Known(stamp, owners, limits, admins);
        }
        catch (MalformedTextException e)
        {
            throw ServiceFault.KeysDamaged(path, e);
        }
    }

    private static Dictionary<string, KeyLimits> With(Dictionary<string, KeyLimits> all, string owner, KeyLimits? limits) => new(all) { [owner] = limits ?? KeyLimits.None };

    private void Write(Dictionary<string, string> keys, Dictionary<string, KeyLimits> limits, HashSet<string> admins)
    {
        VideoFolder.CreatePrivate(Path.GetDirectoryName(path)!);
        var partial = $"{path}.partial-{Environment.ProcessId}";
        var entries = keys.ToDictionary(key => key.Key, key => limits.GetValueOrDefault(key.Value, KeyLimits.None) is var own && admins.Contains(key.Value) is var isAdmin && own == KeyLimits.None && !isAdmin
            ? JsonSerializer.SerializeToElement(key.Value, KeysJson.Default.String)
            : JsonSerializer.SerializeToElement(new KeyEntry(key.Value, own.MaxActive, own.MaxPerDay, own.MaxPerMinute, isAdmin ? AdminRole : null), KeysJson.Default.KeyEntry));
        File.WriteAllBytes(partial, JsonSerializer.SerializeToUtf8Bytes(entries, KeysJson.Default.DictionaryStringJsonElement));
        if (!OperatingSystem.IsWindows())
            File.SetUnixFileMode(partial, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        File.Move(partial, path, overwrite: true);
        lock (gate)
            known = new(default, [], [], []);
    }

    // The content of the file at a given time stamp and length.
    private sealed record Known((DateTime Written, long Length) Stamp, Dictionary<string, string> OwnerOfHash, Dictionary<string, KeyLimits> LimitsOfOwner, HashSet<string> Admins);
}

/// <summary>Limits of one key; what is null is that of the service.</summary>
/// <param name="MaxActive">Maximum number of its videos that wait or are made at a time.</param>
/// <param name="MaxPerDay">Maximum number of its new videos within 24 hours.</param>
/// <param name="MaxPerMinute">Maximum number of its new videos in a minute.</param>
public sealed record KeyLimits(int? MaxActive = null, int? MaxPerDay = null, int? MaxPerMinute = null)
{
    /// <summary>Those of the service.</summary>
    public static KeyLimits None { get; } = new();

    /// <summary>The limits of the service with those of the key in their place.</summary>
    internal ServerLimits Over(ServerLimits limits) => this == None ? limits : limits with
    {
        ActiveJobs = MaxActive ?? limits.ActiveJobs, VideosPerDay = MaxPerDay ?? limits.VideosPerDay, RequestsPerMinute = MaxPerMinute ?? limits.RequestsPerMinute,
    };
}

/// <summary>A key with limits or a role in the file.</summary>
internal sealed record KeyEntry(string Owner, int? MaxActive, int? MaxPerDay, int? MaxPerMinute, string? Role);

[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(Dictionary<string, JsonElement>))]
[JsonSerializable(typeof(KeyEntry))]
[JsonSerializable(typeof(string))]
internal sealed partial class KeysJson : JsonSerializerContext;
