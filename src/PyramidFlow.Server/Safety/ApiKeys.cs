using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Server.Safety;

/// <summary>
/// API keys of a service, in a file that holds their hashes only. A key has 256 random bits, so a plain hash cannot be
/// guessed back. The file is read anew when it changes.
/// </summary>
public sealed class ApiKeys
{
    private const string Prefix = "pf_";
    private readonly string path;
    private readonly Lock gate = new();
    private (DateTime Written, Dictionary<string, string> NameOfHash) known = (DateTime.MinValue, []);

    /// <summary>Keys of a data folder.</summary>
    /// <param name="dataFolder">The folder; made when the first key is.</param>
    public ApiKeys(string dataFolder) => path = Path.Combine(Path.GetFullPath(dataFolder), "keys.json");

    /// <summary>Names of all keys.</summary>
    public IReadOnlyList<string> Names => [.. Read().Values.Order(StringComparer.Ordinal)];

    /// <summary>Whether there is any key, so that everybody needs one.</summary>
    public bool InUse => Read().Count > 0;

    /// <summary>Makes a key.</summary>
    /// <param name="name">Who it is for: letters, digits, <c>-</c>, <c>_</c> and <c>.</c>, at most 64.</param>
    /// <returns>The key; it is shown this once and cannot be found again.</returns>
    /// <exception cref="ArgumentException">The name is impossible or taken.</exception>
    public string Add(string name)
    {
        if (name.Length is 0 or > 64 || !name.All(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.'))
            throw new ArgumentException($"'{name}' cannot be the name of a key: use up to 64 letters, digits, '-', '_' and '.'");
        var keys = new Dictionary<string, string>(Read());
        if (keys.ContainsValue(name))
            throw new ArgumentException($"there is a key '{name}' already: remove it first, or take another name");
        var key = Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(32)).Replace('+', '-').Replace('/', '_').TrimEnd('=');
        keys[Hash(key)] = name;
        Write(keys);
        return key;
    }

    /// <summary>Makes a key worthless at once.</summary>
    /// <param name="name">Its name.</param>
    /// <returns>Whether there was one.</returns>
    public bool Remove(string name)
    {
        var keys = Read().Where(key => key.Value != name).ToDictionary();
        if (keys.Count == Read().Count)
            return false;
        Write(keys);
        return true;
    }

    /// <summary>The name of a key; null when it is none. Looked up by its hash, so that the time taken tells nothing of it.</summary>
    /// <param name="key">What a client sent.</param>
    public string? NameOf(string key) => Read().GetValueOrDefault(Hash(key));

    private static string Hash(string key) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(key)));

    private Dictionary<string, string> Read()
    {
        lock (gate)
        {
            var written = File.GetLastWriteTimeUtc(path);
            if (written != known.Written)
                known = (written, File.Exists(path) ? JsonSerializer.Deserialize(File.ReadAllBytes(path), KeysJson.Default.DictionaryStringString) ?? [] : []);
            return known.NameOfHash;
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
            known = (DateTime.MinValue, []);
    }
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(Dictionary<string, string>))]
internal sealed partial class KeysJson : JsonSerializerContext;
