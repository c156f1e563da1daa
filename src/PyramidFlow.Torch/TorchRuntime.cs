using System.Runtime.InteropServices;
using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <summary>Settings of and facts about the loaded libtorch.</summary>
public static unsafe class TorchRuntime
{
    private static long cacheBytes = 512L << 20;

    private static readonly Lazy<bool> Started = new(Start);

    /// <summary>libtorch's version, for example <c>1.13.1</c>.</summary>
    public static string Version
    {
        get
        {
            EnsureStarted();
            return Marshal.PtrToStringUTF8((nint)Native.pf_version())!;
        }
    }

    /// <summary>How libtorch was built and which CPU instruction set it uses, several lines.</summary>
    public static string BuildConfiguration
    {
        get
        {
            EnsureStarted();
            return Marshal.PtrToStringUTF8((nint)Native.pf_build_configuration())!;
        }
    }

    /// <summary>
    /// Threads an operator may use where this thread asks for it; at least 1. A thread that asks for nothing itself takes, once
    /// and for all, what another one set last before it computed first.
    /// </summary>
    public static int Threads
    {
        get
        {
            EnsureStarted();
            return Native.pf_get_threads();
        }

        set
        {
            ArgumentOutOfRangeException.ThrowIfLessThan(value, 1);
            EnsureStarted();
            Native.pf_set_threads(value);
        }
    }

    /// <summary>
    /// Makes operators of this thread use so many threads until it says another number: cheaper than <see cref="Threads"/>, and no other thread takes the
    /// number over.
    /// </summary>
    /// <param name="count">At least 1.</param>
    public static void UseThreads(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        EnsureStarted();
        Native.pf_set_own_threads(count);
    }

    /// <summary>True when this libtorch can use a CUDA device that is there.</summary>
    public static bool HasCuda
    {
        get
        {
            EnsureStarted();
            return Native.pf_has_cuda() != 0;
        }
    }

    /// <summary>
    /// True when oneDNN, which computes convolutions on a CPU, was found to compute some of them wrongly: they go another way then,
    /// right but slower. The first to ask waits for one small convolution.
    /// </summary>
    public static bool IsOneDnnWrong => Tensor.IsOneDnnWrong.Value;

    /// <summary>Bytes of CPU memory held by tensors, kept for reuse, and the most held by tensors since
    /// <see cref="ResetPeak"/>, or ever.</summary>
    public static (long InUse, long Cached, long Peak) CpuMemory
    {
        get
        {
            long inUse, held, peak;
            EnsureStarted();
            Native.pf_allocator_statistics(&inUse, &held, &peak);
            return (inUse, held, peak);
        }
    }

    /// <summary>The most bytes that tensors on a device have held at a time; 0 where this libtorch does not tell.</summary>
    public static long PeakMemory(Device device) => device.Type == DeviceType.Cpu ? CpuMemory.Peak : DeviceMemory.Of(device)?.Peak ?? 0;

    /// <summary>Waits until all work that this thread has asked of a device so far is done; on a CPU it is.</summary>
    public static void Synchronize(Device device)
    {
        EnsureStarted();
        if (device.Type != DeviceType.Cpu && Native.pf_cuda_synchronize(device.Index) < 0)
            throw Native.Error(device.ToString());
    }

    /// <summary>Begins to measure the peak of <see cref="CpuMemory"/> anew.</summary>
    public static void ResetPeak()
    {
        EnsureStarted();
        Native.pf_allocator_reset_peak();
    }

    /// <summary>Gives memory kept for reuse back to the system, that of GPUs too.</summary>
    public static void TrimMemory()
    {
        EnsureStarted();
        Native.pf_allocator_trim(0);
        if (HasCuda && Native.pf_cuda_trim() < 0)
            throw Native.Error("memory of the GPU could not be given back");
    }

    /// <summary>
    /// After work that may not come again soon: gives freed CPU memory back to the system, but for as much as is quickly used
    /// again (512 MB, or what <see cref="LimitCache"/> says).
    /// </summary>
    public static void RelaxMemory()
    {
        EnsureStarted();
        Native.pf_allocator_trim(cacheBytes);
    }

    /// <summary>Refuses tensors (<see cref="TorchMemoryException"/>) beyond so many bytes of CPU memory in use; 0 refuses none.</summary>
    public static void LimitMemory(long bytes)
    {
        EnsureStarted();
        Native.pf_allocator_limit(bytes);
    }

    /// <summary>
    /// Bounds the freed CPU memory that is kept for reuse: together with what tensors hold it may be as much as they have held at
    /// most before, or this many bytes if that is more.
    /// </summary>
    public static void LimitCache(long bytes)
    {
        EnsureStarted();
        cacheBytes = bytes;
        Native.pf_allocator_install(bytes);
    }

    internal static void EnsureStarted() => _ = Started.Value;

    private static bool Start()
    {
        Native.pf_allocator_install(cacheBytes);
        Native.pf_set_threads(Environment.ProcessorCount);
        Native.pf_cuda_settings();
        return true;
    }
}
