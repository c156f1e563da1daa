using System.Numerics;

namespace PyramidFlow.Torch;

/// <summary>Bytes that a tensor takes of an allocator, for memory that is planned before it is used.</summary>
internal static class AllocatedBytes
{
    private const long SmallestClass = 4096, Alignment = 64, CudaAlignment = 512;
    private const int ClassesOfPowerOfTwo = 8;

    /// <summary>The size class of <c>native/allocator.cpp</c> on a CPU; a multiple of 512 on a GPU.</summary>
    /// <param name="bytes">Bytes of the elements.</param>
    /// <param name="device">Where the tensor is.</param>
    internal static long Of(long bytes, DeviceType device)
    {
        if (bytes == 0)
            return 0;
        var step = device != DeviceType.Cpu ? CudaAlignment
            : bytes <= SmallestClass ? Alignment
            : (1L << BitOperations.Log2((ulong)bytes)) / ClassesOfPowerOfTwo;
        return (bytes + step - 1) / step * step;
    }
}
