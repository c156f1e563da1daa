using PyramidFlow.Torch;

namespace PyramidFlow.Pipelines;

/// <summary>How sampling trades speed for memory; the result is the same.</summary>
public sealed record SamplerOptions
{
    /// <summary>
    /// Whether text and history of later units run ahead of the steps, several timesteps in one batch; only for models with
    /// temporal causal attention.
    /// </summary>
    public bool UsePrefix { get; init; } = true;

    /// <summary>Bytes of keys and values to hold ahead; bounds how many timesteps run in one batch, at least 1 does.</summary>
    public long PrefixBytes { get; init; } = 2L << 30;

    /// <summary>These where memory allows more to be held ahead: on a GPU a quarter of what is free, for larger batches keep it busier.</summary>
    public SamplerOptions RoomyOn(Device device) => device.Type == DeviceType.Cuda && DeviceMemory.Of(device) is { } memory
        ? this with { PrefixBytes = Math.Max(PrefixBytes, (memory.Free + memory.Cached) / 4) }
        : this;
}
