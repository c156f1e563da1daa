using System.Globalization;

namespace PyramidFlow.Torch;

/// <summary>Kinds of device, with the numbers of libtorch.</summary>
public enum DeviceType
{
    /// <summary>Host memory.</summary>
    Cpu = 0,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 1,
}

/// <summary>A device that holds tensors.</summary>
/// <param name="Type">Kind of device.</param>
/// <param name="Index">Index among devices of its kind; -1 is the current one.</param>
public readonly record struct Device(DeviceType Type, int Index = -1)
{
    // libtorch stores the index in a signed byte.
    private const int MaxIndex = sbyte.MaxValue;

    /// <summary>Host memory.</summary>
    public static Device Cpu => new(DeviceType.Cpu);

    /// <summary>Parses <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    /// <exception cref="FormatException">The text is something else.</exception>
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

/// <summary>Use of the CPU's memory by tensors, in bytes.</summary>
/// <param name="InUse">Used by tensors.</param>
/// <param name="Cached">Cached for reuse.</param>
/// <param name="Peak">Peak used by tensors since <see cref="TorchRuntime.ResetPeak"/> or the start.</param>
public readonly record struct HostMemory(long InUse, long Cached, long Peak);

/// <summary>Use of the memory of a GPU, in bytes.</summary>
/// <param name="InUse">Used by tensors of this process.</param>
/// <param name="Cached">Cached for reuse by this process.</param>
/// <param name="Peak">Peak used by tensors since <see cref="ResetPeak"/> or the start.</param>
/// <param name="Free">Free for any process.</param>
/// <param name="Total">Size of the memory.</param>
public readonly record struct DeviceMemory(long InUse, long Cached, long Peak, long Free, long Total)
{
    /// <summary>Reads the use of memory; null where libtorch (before 2.10) does not report it.</summary>
    /// <param name="device">A GPU of this machine.</param>
    public static unsafe DeviceMemory? Read(Device device)
    {
        TorchRuntime.EnsureStarted();
        long inUse, cached, peak, free, total;
        return Native.pf_cuda_memory(device.Index, &inUse, &cached, &peak, &free, &total) switch
        {
            0 => new DeviceMemory(inUse, cached, peak, free, total),
            < 0 => throw Native.Error($"the memory of {device} cannot be read"),
            _ => null,
        };
    }

    /// <summary>Restarts the measurement of <see cref="Peak"/>.</summary>
    /// <param name="device">A GPU of this machine.</param>
    public static void ResetPeak(Device device)
    {
        TorchRuntime.EnsureStarted();
        if (Native.pf_cuda_reset_peak(device.Index) < 0)
            throw Native.Error($"the peak of {device} could not be reset");
    }
}
