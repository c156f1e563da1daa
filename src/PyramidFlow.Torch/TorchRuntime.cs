using System.Reflection;
using System.Runtime.InteropServices;

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

/// <summary>libtorch refused an operation, or could not be loaded; the message carries its own words.</summary>
public class TorchException : Exception
{
    /// <summary>Creates the error.</summary>
    public TorchException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>A tensor did not fit into the memory of its device, or beyond <see cref="TorchRuntime.LimitMemory"/>. Nothing was changed.</summary>
public sealed class TorchMemoryException : TorchException
{
    /// <summary>Creates the error.</summary>
    public TorchMemoryException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>
/// Finds the shim: <c>PYRAMIDFLOW_NATIVE</c> (a folder), beside this assembly, or <c>artifacts/native</c> of the
/// repository the assembly was built in.
/// </summary>
internal static partial class ShimLocator
{
    private static readonly string FileName =
        OperatingSystem.IsWindows() ? "pyramidflow_torch.dll"
        : OperatingSystem.IsMacOS() ? "libpyramidflow_torch.dylib" : "libpyramidflow_torch.so";

    internal static nint Resolve(string library, Assembly assembly, DllImportSearchPath? searchPath)
    {
        if (library != "pyramidflow_torch")
            return 0;
        PrepareEnvironment();
        var tried = Candidates().ToList();
        foreach (var path in tried.Where(File.Exists))
            return NativeLibrary.Load(path);
        throw new TorchException(
            $"the libtorch shim {FileName} was not found in {string.Join(", ", tried.Select(Path.GetDirectoryName))}: "
            + "run ./pyramidflow doctor in the repository, or cmake -S native -B artifacts/native && cmake --build artifacts/native");
    }

    private static IEnumerable<string> Candidates()
    {
        if (Environment.GetEnvironmentVariable("PYRAMIDFLOW_NATIVE") is { Length: > 0 } named)
            yield return Path.Combine(named, FileName);
        yield return Path.Combine(AppContext.BaseDirectory, FileName);
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (Directory.Exists(Path.Combine(folder.FullName, "native")))
                yield return Path.Combine(folder.FullName, "artifacts", "native", FileName);
        }
    }

    // libtorch and OpenMP read these when they are loaded; .NET's own environment does not reach native code on Unix.
    private static void PrepareEnvironment()
    {
        if (OperatingSystem.IsWindows())
            return;
        const int keepWhatTheUserSet = 0;
        if (System.Runtime.Intrinsics.X86.Avx512F.IsSupported)
            _ = setenv("ATEN_CPU_CAPABILITY", "avx512", keepWhatTheUserSet);
        else if (System.Runtime.Intrinsics.X86.Avx2.IsSupported)
            _ = setenv("ATEN_CPU_CAPABILITY", "avx2", keepWhatTheUserSet);
        // Threads that wait for one another spin for a millisecond; where the machine does something else too, it gets nothing done meanwhile.
        if (Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") is not { Length: > 0 })
            _ = setenv("GOMP_SPINCOUNT", "20000", keepWhatTheUserSet);
        // A GPU's freed memory then serves tensors of any size; the second name is that of libtorch before 2.9.
        string[] allocator = ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];
        if (!allocator.Any(name => Environment.GetEnvironmentVariable(name) is { Length: > 0 }))
            Array.ForEach(allocator, name => _ = setenv(name, "expandable_segments:True", keepWhatTheUserSet));
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);
}
