using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>How sampling trades speed for memory; the result is the same.</summary>
public sealed record SamplerOptions
{
    private const long DefaultPrefixBytes = 2L << 30;

    /// <summary>
    /// Whether text and history of later units run ahead of the steps, several timesteps in one batch; only for models with
    /// temporal causal attention.
    /// </summary>
    public bool UsePrefix { get; init; } = true;

    /// <summary>Bytes of keys and values to hold ahead; bounds how many timesteps run in one batch, at least 1 does.</summary>
    public long PrefixBytes { get; init; } = DefaultPrefixBytes;

    /// <summary>
    /// These where memory allows more to be held ahead: on a GPU a quarter of all it has, for larger batches keep it busier. What
    /// was set stays.
    /// </summary>
    public SamplerOptions RoomyOn(Device device) =>
        PrefixBytes == DefaultPrefixBytes && device.Type == DeviceType.Cuda && DeviceMemory.Read(device) is { } memory
            ? this with { PrefixBytes = Math.Max(PrefixBytes, memory.Total / 4) }
            : this;
}
