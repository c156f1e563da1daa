using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;

namespace PyramidFlow.Testing;

/// <summary>One repository on a <see cref="HubServer"/>, listed and served as the Hugging Face hub does it.</summary>
internal sealed class HubRepository : IDisposable
{
    private readonly Dictionary<string, byte[]> files = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, ConcurrentQueue<Func<HubRequest, HubReply, HubReply>>> faults = new(StringComparer.Ordinal);

    public HubRepository() => Server = new HubServer(Answer);

    public const string Name = "someone/model";

    public HubServer Server { get; }

    /// <summary>Files on one page of the list.</summary>
    public int PageSize { get; init; } = 1000;

    /// <summary>Changes an entry of the list: path, size, hash.</summary>
    public Func<string, (string Path, long Size, string Hash), (string Path, long Size, string Hash)> Lie { get; set; } = (_, entry) => entry;

    public byte[] this[string path]
    {
        get => files[path];
        set => files[path] = value;
    }

    /// <summary>Every file of a folder.</summary>
    public void AddFolder(string folder)
    {
        foreach (var file in Directory.GetFiles(folder, "*", SearchOption.AllDirectories))
            files[Path.GetRelativePath(folder, file).Replace('\\', '/')] = File.ReadAllBytes(file);
    }

    /// <summary>Changes the next answer for a file (or for the list: the empty path); repeated calls queue up.</summary>
    public void Fault(string path, Func<HubRequest, HubReply, HubReply> change) => faults.GetOrAdd(path, _ => []).Enqueue(change);

    /// <summary>What was asked of a file.</summary>
    public IReadOnlyList<HubRequest> Asked(string path) => [.. Server.Requests.Where(request => request.Path == $"/{Name}/resolve/main/{path}")];

    public void Dispose() => Server.Dispose();

    private HubReply Answer(HubRequest request)
    {
        var resolve = $"/{Name}/resolve/main/";
        var path = request.Path.StartsWith(resolve, StringComparison.Ordinal) ? Uri.UnescapeDataString(request.Path[resolve.Length..]) : "";
        var reply = path.Length > 0 ? Content(request, path)
            : request.Path.StartsWith($"/api/models/{Name}/tree/main", StringComparison.Ordinal) ? List(request)
            : HubReply.Text(404);
        return faults.TryGetValue(path, out var queue) && queue.TryDequeue(out var change) ? change(request, reply) : reply;
    }

    private HubReply Content(HubRequest request, string path)
    {
        if (!files.TryGetValue(path, out var bytes))
            return HubReply.Text(404);
        return request.From == 0
            ? new HubReply(200, bytes)
            : new HubReply(206, bytes[request.From..]) { Headers = [("Content-Range", $"bytes {request.From}-{bytes.Length - 1}/{bytes.Length}")] };
    }

    private HubReply List(HubRequest request)
    {
        var cursor = request.Path.IndexOf("cursor=", StringComparison.Ordinal);
        var first = cursor < 0 ? 0 : int.Parse(request.Path[(cursor + "cursor=".Length)..], System.Globalization.CultureInfo.InvariantCulture);
        var entries = files.OrderBy(file => file.Key, StringComparer.Ordinal).Skip(first).Take(PageSize).Select(file => Entry(file.Key, file.Value));
        var next = first + PageSize < files.Count ? [("Link", $"<https://elsewhere.example/x?recursive=1&cursor={first + PageSize}>; rel=\"next\"")] : ((string, string)[])[];
        return HubReply.Text(200, $"[{string.Join(',', entries.Prepend("{\"type\":\"directory\",\"path\":\"x\",\"oid\":\"1\",\"size\":0}"))}]", next);
    }

    // Weights are LFS files with a SHA-256, all others have git's hash only.
    private string Entry(string key, byte[] bytes)
    {
        var isLarge = key.EndsWith(".safetensors", StringComparison.Ordinal) || key.EndsWith(".bin", StringComparison.Ordinal);
        var hash = Convert.ToHexStringLower(isLarge ? SHA256.HashData(bytes) : SHA1.HashData([.. Encoding.ASCII.GetBytes($"blob {bytes.Length}\0"), .. bytes]));
        var entry = Lie(key, (key, bytes.Length, hash));
        var name = JsonSerializer.Serialize(entry.Path);
        var lfs = isLarge ? $",\"lfs\":{{\"oid\":\"{entry.Hash}\",\"size\":{entry.Size},\"pointerSize\":134}}" : "";
        return $"{{\"type\":\"file\",\"path\":{name},\"oid\":\"{(isLarge ? new string('0', 40) : entry.Hash)}\",\"size\":{entry.Size}{lfs}}}";
    }
}
