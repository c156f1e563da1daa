using System.Text;

namespace PyramidFlow.Torch.Distributed;

/// <summary>
/// Small values that all processes of a group read and write, kept by c10d: in a file, or in one process that serves them over TCP.
/// </summary>
internal sealed unsafe class KeyValueStore : IDisposable
{
    // Values are digests and sentences. A longer one is not ours.
    private const int LongestValue = 1 << 16;

    private nint handle;

    private KeyValueStore(nint handle) => this.handle = handle != 0 ? handle : throw Native.Error("the store of the processes");

    /// <summary>Connects to a store over TCP.</summary>
    /// <param name="address">Machine that serves it.</param>
    /// <param name="port">Its port.</param>
    /// <param name="serve">Whether this process serves it.</param>
    /// <param name="prefix">Beginning of all keys.</param>
    /// <param name="limit">Longest time that a call waits for an answer.</param>
    /// <exception cref="TorchException">Nobody answers, or the port is taken.</exception>
    public static KeyValueStore OverTcp(string address, int port, bool serve, string prefix, TimeSpan limit) =>
        new(Native.pf_store_tcp(address, port, serve ? 1 : 0, prefix, (long)limit.TotalMilliseconds));

    /// <summary>Opens a store in a file, which is made if it is not there.</summary>
    /// <param name="path">The file.</param>
    /// <param name="limit">Longest time that a call waits for a key.</param>
    /// <exception cref="TorchException">The file cannot be used.</exception>
    public static KeyValueStore InFile(string path, TimeSpan limit) => new(Native.pf_store_file(path, (long)limit.TotalMilliseconds));

    /// <summary>The native store.</summary>
    public nint Handle => handle;

    /// <summary>Sets the value of a key.</summary>
    public void Set(string key, string value)
    {
        var bytes = Encoding.UTF8.GetBytes(value);
        fixed (byte* data = bytes)
            Check(Native.pf_store_set(handle, key, data, bytes.Length));
    }

    /// <summary>The value of a key, or null where it has none yet.</summary>
    public string? TryGet(string key)
    {
        if (Check(Native.pf_store_has(handle, key)) == 0)
            return null;
        var buffer = new byte[LongestValue];
        fixed (byte* data = buffer)
            return Encoding.UTF8.GetString(buffer, 0, (int)Math.Min(LongestValue, Check(Native.pf_store_get(handle, key, data, LongestValue))));
    }

    /// <summary>Adds one to the number under a key, which begins at 0.</summary>
    /// <returns>The sum.</returns>
    public long Count(string key) => Check(Native.pf_store_add(handle, key, 1));

    /// <inheritdoc/>
    public void Dispose()
    {
        if (handle != 0)
            Native.pf_store_free(handle);
        handle = 0;
    }

    private static long Check(long result) => result >= 0 ? result : throw Native.Error("the store of the processes");
}
