using System.Reflection;
using System.Runtime.InteropServices;

namespace PyramidFlow.Torch.Interop;

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
