using System.Diagnostics;
using System.Text.RegularExpressions;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Diagnostics;

/// <summary>Which libtorch is there, how it was built, and whether it sees a GPU.</summary>
internal static partial class TorchFindings
{
    private const string GetLibtorch = "sudo apt install libtorch-dev libopenblas0-openmp libgloo-dev cmake g++ && cmake -S native -B artifacts/native && cmake --build artifacts/native";

    public static IReadOnlyList<Finding> Examine()
    {
        string version;
        try
        {
            version = TorchRuntime.Version;
        }
        catch (Exception e) when (e is TorchException or DllNotFoundException or EntryPointNotFoundException or TypeInitializationException)
        {
            return [new Finding("libtorch", FindingState.Missing, Reason(e), GetLibtorch)];
        }

        var build = TorchRuntime.BuildConfiguration;
        return
        [
            new("libtorch", FindingState.Ok, $"{version}, {Location()}"),
            new("libtorch build", FindingState.Ok, Build(build)),
            new("CPU", FindingState.Ok, $"{Environment.ProcessorCount} cores, {TorchRuntime.Threads} threads, {Capability(build)}"),
            Convolutions(TorchRuntime.IsOneDnnWrong),
            Gpu(),
        ];
    }

    /// <summary>What computes convolutions on the CPU.</summary>
    /// <param name="isOneDnnWrong">Whether oneDNN computes some wrongly.</param>
    internal static Finding Convolutions(bool isOneDnnWrong) => isOneDnnWrong
        ? new("convolutions", FindingState.Optional,
            "this libtorch's oneDNN computes some wrongly, so they go another way: right, but slower in training a VAE; another libtorch avoids it")
        : new("convolutions", FindingState.Ok, "libtorch's, which passed a check");

    private static string Reason(Exception e) => e switch
    {
        TypeInitializationException { InnerException: { } inner } => Reason(inner),
        DllNotFoundException => "the shim is built, but libtorch or a library it needs is not installed",
        _ => Faults.Sentence(e),
    };

    private static Finding Gpu()
    {
        if (TorchRuntime.HasCuda)
            return new Finding("GPU", FindingState.Ok, "yes");
        return File.Exists("/proc/driver/nvidia/version")
            ? new Finding("GPU", FindingState.Optional, "there is one, but this libtorch was built without CUDA",
                "pip install torch && LIBTORCH_USE_PIP=1 cmake -S native -B artifacts/native && cmake --build artifacts/native")
            : new Finding("GPU", FindingState.Ok, "none, the CPU is used");
    }

    private static string Location()
    {
        using var process = Process.GetCurrentProcess();
        return process.Modules.Cast<ProcessModule>().Select(module => module.FileName)
            .FirstOrDefault(file => LibraryName().IsMatch(file)) ?? "at an unknown place";
    }

    // The settings a slow build lacks; libtorch's own text names many more.
    private static string Build(string configuration)
    {
        string Setting(string name) => Regex.Match(configuration, $@"\b{name}=(\w+)") is { Success: true } match ? match.Groups[1].Value : "?";
        var openMp = OpenMp().Match(configuration);
        return $"BLAS {Setting("BLAS_INFO")}, OpenMP {(openMp.Success ? openMp.Groups[1].Value : "no")}, MKLDNN {Setting("USE_MKLDNN")}";
    }

    private static string Capability(string configuration) =>
        CpuCapability().Match(configuration) is { Success: true } match ? match.Groups[1].Value : "unknown instruction set";

    [GeneratedRegex(@"/(lib)?torch_cpu[^/]*$")]
    private static partial Regex LibraryName();

    [GeneratedRegex(@"CPU capability usage: (\w+)")]
    private static partial Regex CpuCapability();

    [GeneratedRegex(@"OpenMP \d+ \(a\.k\.a\. OpenMP ([\d.]+)\)")]
    private static partial Regex OpenMp();
}
