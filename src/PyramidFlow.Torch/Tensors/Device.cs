using System.Globalization;

namespace PyramidFlow.Torch;

/// <summary>Kinds of device; the values are libtorch's.</summary>
public enum DeviceType
{
    /// <summary>Host memory.</summary>
    Cpu = 0,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 1,
}

/// <summary>Where a tensor lives.</summary>
/// <param name="Type">Kind of device.</param>
/// <param name="Index">Which one of its kind; -1 is the current one.</param>
public readonly record struct Device(DeviceType Type, int Index = -1)
{
    // libtorch keeps the number in a signed byte.
    private const int MaxIndex = sbyte.MaxValue;

    /// <summary>Host memory.</summary>
    public static Device Cpu => new(DeviceType.Cpu);

    /// <summary>Reads <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    /// <exception cref="FormatException">Anything else.</exception>
    public static Device Parse(string text)
    {
        var parts = text.Split(':');
        DeviceType? type = parts[0] switch { "cpu" => DeviceType.Cpu, "cuda" => DeviceType.Cuda, _ => null };
        var index = -1;
        var numbered = parts.Length == 1
            || (parts.Length == 2 && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out index));
        return type is { } known && numbered && index <= MaxIndex
            ? new Device(known, index)
            : throw new FormatException($"unknown device '{text}': use cpu, cuda or cuda:N");
    }

    /// <inheritdoc/>
    public override string ToString() =>
        Type.ToString().ToLowerInvariant() + (Index >= 0 ? ":" + Index.ToString(CultureInfo.InvariantCulture) : "");
}

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
