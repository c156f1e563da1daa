using System.Reflection;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch;

/// <summary>Loads libtorch, reports what was loaded, and sets its threads and memory limits.</summary>
public static unsafe class TorchRuntime
{
    private static long cacheBytes = 512L << 20;

    private static readonly Lazy<bool> Started = new(Start);

    /// <summary>Version of libtorch, for example <c>1.13.1</c>.</summary>
    public static string Version
    {
        get
        {
            EnsureStarted();
            return Marshal.PtrToStringUTF8((nint)Native.pf_version())!;
        }
    }

    /// <summary>Version of a part of this program, with the commit that it was built from where that is known.</summary>
    /// <param name="part">The part.</param>
    internal static string ProgramVersion(Assembly part) => part.GetCustomAttribute<AssemblyInformationalVersionAttribute>()?.InformationalVersion ?? part.GetName().Version!.ToString();

    /// <summary>Build settings of libtorch and the CPU instruction set it uses, in several lines.</summary>
    public static string BuildConfiguration
    {
        get
        {
            EnsureStarted();
            return Marshal.PtrToStringUTF8((nint)Native.pf_build_configuration())!;
        }
    }

    /// <summary>
    /// Threads that an operator called from this thread may use; at least 1. A thread that never sets it keeps the value that was
    /// set last, on any thread, before its own first operator.
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
    /// Sets the threads of operators called from this thread only: cheaper than <see cref="Threads"/>, and no other thread
    /// inherits the number.
    /// </summary>
    /// <param name="count">At least 1.</param>
    public static void UseThreads(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        EnsureStarted();
        Native.pf_set_own_threads(count);
    }

    /// <summary>Whether this libtorch supports CUDA and the machine has a CUDA device.</summary>
    public static bool HasCuda
    {
        get
        {
            EnsureStarted();
            return Native.pf_has_cuda() != 0;
        }
    }

    /// <summary>
    /// Whether oneDNN, which computes convolutions on a CPU, gives wrong results for some of them in this build. Those are computed
    /// without oneDNN then, which is slower. The first access runs one small convolution.
    /// </summary>
    public static bool IsOneDnnWrong => Tensor.IsOneDnnWrong.Value;

    /// <summary>
    /// CPU memory in bytes: used by tensors, cached for reuse, and the peak used by tensors since <see cref="ResetPeak"/> or the
    /// start.
    /// </summary>
    public static HostMemory CpuMemory
    {
        get
        {
            long inUse, held, peak;
            EnsureStarted();
            Native.pf_allocator_statistics(&inUse, &held, &peak);
            return new HostMemory(inUse, held, peak);
        }
    }

    /// <summary>Peak memory used by tensors on a device, in bytes; 0 where this libtorch does not report it.</summary>
    public static long PeakMemory(Device device) => device.Type == DeviceType.Cpu ? CpuMemory.Peak : DeviceMemory.Read(device)?.Peak ?? 0;

    /// <summary>Waits until all work that this thread has queued on a device is done; returns at once for the CPU.</summary>
    public static void Synchronize(Device device)
    {
        EnsureStarted();
        if (device.Type != DeviceType.Cpu && Native.pf_cuda_synchronize(device.Index) < 0)
            throw Native.Error(device.ToString());
    }

    /// <summary>Restarts the measurement of the peak of <see cref="CpuMemory"/>.</summary>
    public static void ResetPeak()
    {
        EnsureStarted();
        Native.pf_allocator_reset_peak();
    }

    /// <summary>Returns all cached memory to the system, of the CPU and of GPUs.</summary>
    public static void TrimMemory()
    {
        EnsureStarted();
        Native.pf_allocator_trim(0);
        if (HasCuda && Native.pf_cuda_trim() < 0)
            throw Native.Error("memory of the GPU could not be given back");
    }

    /// <summary>
    /// Returns cached CPU memory to the system, except for the minimum that is kept for quick reuse (512 MB, or the limit set by
    /// <see cref="LimitCache"/>). For the end of a large piece of work.
    /// </summary>
    public static void RelaxMemory()
    {
        EnsureStarted();
        Native.pf_allocator_trim(cacheBytes);
    }

    /// <summary>Limits the CPU memory of all tensors, in bytes; further tensors fail with <see cref="TorchMemoryException"/>. 0 removes the limit.</summary>
    public static void LimitMemory(long bytes)
    {
        EnsureStarted();
        Native.pf_allocator_limit(bytes);
    }

    /// <summary>
    /// Bounds the freed CPU memory that is cached for reuse: together with the memory of tensors it may reach their peak so far,
    /// or this many bytes if that is more.
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

/// <summary>libtorch rejected an operation, or could not be loaded. The message contains the message of libtorch.</summary>
public class TorchException : Exception
{
    /// <summary>Creates the error.</summary>
    public TorchException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>A tensor exceeds the memory of its device or the limit set by <see cref="TorchRuntime.LimitMemory"/>. No state was changed.</summary>
public sealed class TorchMemoryException : TorchException
{
    /// <summary>Creates the error.</summary>
    public TorchMemoryException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}

/// <summary>
/// Finds the native shim: in the folder <c>PYRAMIDFLOW_NATIVE</c>, beside the program (compiled where it was built), in its <c>runtimes</c> (as it came in
/// the package), or in <c>artifacts/native</c> of the repository or tool that it runs in. One that does not fit the libtorch of the machine is skipped.
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
        var tried = Candidates().Distinct().ToList();
        string? misfit = null;
        foreach (var path in tried.Where(File.Exists))
        {
            try
            {
                return NativeLibrary.Load(path);
            }
            catch (DllNotFoundException e)
            {
                misfit ??= $"the libtorch shim {path} cannot be loaded ({Reason(e, path)})";
            }
        }

        throw new TorchException((misfit ?? $"the libtorch shim {FileName} was not found in {string.Join(", ", tried.Select(Path.GetDirectoryName))}")
            + ": install libtorch (sudo apt install libtorch-dev libopenblas0-openmp libgloo-dev) and build again (in the repository: ./pyramidflow doctor), or name the folder of a shim in PYRAMIDFLOW_NATIVE");
    }

    private static IEnumerable<string> Candidates()
    {
        if (Environment.GetEnvironmentVariable("PYRAMIDFLOW_NATIVE") is { Length: > 0 } named)
            yield return Path.Combine(named, FileName);
        // What was compiled for a tool goes before what the tool came with, which may fit another libtorch of the machine.
        yield return Path.Combine(AppContext.BaseDirectory, "artifacts", "native", FileName);
        yield return Path.Combine(AppContext.BaseDirectory, FileName);
        yield return Path.Combine(AppContext.BaseDirectory, "runtimes", RuntimeInformation.RuntimeIdentifier, "native", FileName);
        if (OperatingSystem.IsLinux())
            yield return Path.Combine(AppContext.BaseDirectory, "runtimes", $"linux-{RuntimeInformation.ProcessArchitecture.ToString().ToLowerInvariant()}", "native", FileName);
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (Directory.Exists(Path.Combine(folder.FullName, "native")))
                yield return Path.Combine(folder.FullName, "artifacts", "native", FileName);
        }
    }

    // What the loader says, such as "libtorch_cpu.so.1.13: cannot open shared object file"; the rest of the message lists what .NET tried.
    private static string Reason(DllNotFoundException e, string path)
    {
        var line = e.Message.Split('\n').Select(line => line.Trim()).FirstOrDefault(line => line.Contains(": cannot ", StringComparison.Ordinal) || line.Contains(": undefined ", StringComparison.Ordinal));
        return line?.Replace(path + ": ", "", StringComparison.Ordinal).TrimEnd('.') ?? e.Message.Split('\n')[0];
    }

    // libtorch and OpenMP read these variables when they are loaded. On Unix, changes through .NET do not reach native code.
    private static void PrepareEnvironment()
    {
        if (OperatingSystem.IsWindows())
            return;
        const int keepExisting = 0;
        if (System.Runtime.Intrinsics.X86.Avx512F.IsSupported)
            _ = setenv("ATEN_CPU_CAPABILITY", "avx512", keepExisting);
        else if (System.Runtime.Intrinsics.X86.Avx2.IsSupported)
            _ = setenv("ATEN_CPU_CAPABILITY", "avx2", keepExisting);
        // By default waiting OpenMP threads spin for a millisecond, which takes the CPU from other work on the machine.
        if (Environment.GetEnvironmentVariable("OMP_WAIT_POLICY") is not { Length: > 0 })
            _ = setenv("GOMP_SPINCOUNT", "20000", keepExisting);
        // c10d also writes to the error stream what it throws. The first name is for builds with glog.
        foreach (var name in new[] { "GLOG_minloglevel", "TORCH_CPP_LOG_LEVEL" })
            _ = setenv(name, name[0] == 'G' ? "3" : "FATAL", keepExisting);
        // Lets freed GPU memory serve tensors of any size. The second name is for libtorch before 2.9.
        string[] allocator = ["PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"];
        if (!allocator.Any(name => Environment.GetEnvironmentVariable(name) is { Length: > 0 }))
            Array.ForEach(allocator, name => _ = setenv(name, "expandable_segments:True", keepExisting));
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int setenv(string name, string value, int overwrite);
}
