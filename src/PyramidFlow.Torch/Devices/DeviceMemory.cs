using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <summary>What a GPU's memory holds, bytes.</summary>
/// <param name="InUse">Held by tensors of this process.</param>
/// <param name="Cached">Kept for reuse by this process.</param>
/// <param name="Peak">The most held by tensors since <see cref="ResetPeak"/>, or ever.</param>
/// <param name="Free">Nobody's.</param>
/// <param name="Total">All there is.</param>
public readonly record struct DeviceMemory(long InUse, long Cached, long Peak, long Free, long Total)
{
    /// <summary>Reads it; null where this libtorch (before 2.10) does not tell.</summary>
    /// <param name="device">A GPU that is there.</param>
    public static unsafe DeviceMemory? Of(Device device)
    {
        TorchRuntime.EnsureStarted();
        long inUse, cached, peak, free, total;
        return Native.pf_cuda_memory(device.Index, &inUse, &cached, &peak, &free, &total) switch
        {
            0 => new DeviceMemory(inUse, cached, peak, free, total),
            < 0 => throw Native.Error($"the memory of {device} cannot be told"),
            _ => null,
        };
    }

    /// <summary>Begins to measure <see cref="Peak"/> anew.</summary>
    /// <param name="device">A GPU that is there.</param>
    public static void ResetPeak(Device device)
    {
        TorchRuntime.EnsureStarted();
        if (Native.pf_cuda_reset_peak(device.Index) < 0)
            throw Native.Error($"the peak of {device} could not be reset");
    }
}
