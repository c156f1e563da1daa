using System.CommandLine;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using Spectre.Console;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Commands;

/// <summary><c>doctor</c>: what is installed, and how to install what is missing.</summary>
internal static class DoctorCommand
{
    public static Command Create(CliConsole console)
    {
        var json = CliOptions.Flag("--json", "print JSON instead of a table");
        var command = new ExampledCommand("doctor", "Shows what is installed and how to get what is missing.",
            $"{About.Name} doctor", $"{About.Name} doctor --json") { json };
        command.SetAction(async (parsed, cancellationToken) =>
        {
            var findings = await Doctor.ExamineAsync(cancellationToken).ConfigureAwait(false);
            DoctorReport.Print(findings, parsed.GetValue(json), console);
            return findings.Any(f => f.State == FindingState.Missing) ? ExitCode.Failed : ExitCode.Ok;
        });
        return command;
    }
}

/// <summary>Checks everything the program needs.</summary>
internal static class Doctor
{
    private const long LeastFreeBytes = 1L << 30;

    /// <summary>All findings, in the order of a table.</summary>
    public static async Task<IReadOnlyList<Finding>> ExamineAsync(CancellationToken cancellationToken) =>
    [
        new(".NET", FindingState.Ok, $"{RuntimeInformation.FrameworkDescription} on {RuntimeInformation.OSDescription}, {RuntimeInformation.ProcessArchitecture}"),
        .. TorchFindings.Examine(),
        await FfmpegAsync(cancellationToken).ConfigureAwait(false),
        .. ModelFindings(),
        Disk(),
    ];

    private static async Task<Finding> FfmpegAsync(CancellationToken cancellationToken)
    {
        try
        {
            return new Finding("ffmpeg", FindingState.Ok, await FfmpegTools.FromEnvironment().ReadVersionAsync(cancellationToken).ConfigureAwait(false));
        }
        catch (MediaException e)
        {
            return new Finding("ffmpeg", FindingState.Missing, Faults.Sentence(e), "sudo apt install ffmpeg");
        }
    }

    private static IEnumerable<Finding> ModelFindings()
    {
        var known = ModelCatalog.Installed();
        foreach (var (name, folder) in known)
            yield return Model(name, folder);
        if (known.All(model => model.Name != ModelCatalog.Default))
        {
            yield return new Finding($"model {ModelCatalog.Default}", FindingState.Missing, "not found",
                $"git checkout models/{ModelCatalog.Default}, or export {ModelCatalog.Variable}=FOLDER-OF-MODELS");
        }
    }

    private static Finding Model(string name, string folder)
    {
        try
        {
            var problems = CheckpointReport.Create(CheckpointFolder.Open(folder)).Variants.SelectMany(variant => variant.Faults).Select(fault => fault.Message).Distinct().ToList();
            return problems.Count == 0
                ? new Finding($"model {name}", FindingState.Ok, folder)
                : Damaged(name, problems[0]);
        }
        catch (CheckpointException e)
        {
            return Damaged(name, Faults.Sentence(e));
        }
    }

    private static Finding Damaged(string name, string problem) => name == ModelCatalog.Default
        ? new Finding($"model {name}", FindingState.Missing, problem, $"git checkout models/{name}")
        : new Finding($"model {name}", FindingState.Optional, problem);

    private static Finding Disk()
    {
        var free = new DriveInfo(Environment.CurrentDirectory).AvailableFreeSpace;
        var text = FormattableString.Invariant($"{free / 1e9:F1} GB free here");
        return free >= LeastFreeBytes
            ? new Finding("disk", FindingState.Ok, text)
            : new Finding("disk", FindingState.Optional, text, "free some space, or write to another disk with -o");
    }
}

/// <summary>The result of one check.</summary>
/// <param name="Name">Name of the part that is checked.</param>
/// <param name="State">Whether it is there.</param>
/// <param name="Value">What was found.</param>
/// <param name="Fix">The command that mends it, or null.</param>
internal sealed record Finding(string Name, FindingState State, string Value, string? Fix = null);

/// <summary>Whether something is there.</summary>
internal enum FindingState
{
    /// <summary>It is there.</summary>
    Ok,

    /// <summary>It is missing, but optional.</summary>
    Optional,

    /// <summary>It is missing and required.</summary>
    Missing,
}

/// <summary>Which libtorch is there, how it was built, and whether it sees a GPU.</summary>
internal static partial class TorchFindings
{
    private const string GetLibtorch = "sudo apt install libtorch-dev libopenblas0-openmp libgloo-dev cmake g++ make && ";

    public static IReadOnlyList<Finding> Examine()
    {
        string version;
        try
        {
            version = TorchRuntime.Version;
        }
        catch (Exception e) when (e is TorchException or EntryPointNotFoundException or TypeInitializationException)
        {
            return [new Finding("libtorch", FindingState.Missing, Reason(e), GetLibtorch + Compile)];
        }

        var build = TorchRuntime.BuildConfiguration;
        return
        [
            new("libtorch", FindingState.Ok, $"{version}, {Location()}"),
            new("libtorch build", FindingState.Ok, Build(build)),
            new("CPU", FindingState.Ok, $"{Environment.ProcessorCount} cores, {TorchRuntime.Threads} threads, {Capability(build)}, {Products(ProductSpeed.Narrow())}"),
            Convolutions(TorchRuntime.IsOneDnnWrong),
            Gpu(),
        ];
    }

    // The sources are those of the repository, or those that came with the tool; both have the shim in artifacts/native beside them.
    private static string Compile
    {
        get
        {
            var tool = AppContext.BaseDirectory;
            return (File.Exists(Path.Combine(tool, "native", "CMakeLists.txt")) ? $"cd {tool} && " : "") + "cmake -S native -B artifacts/native && cmake --build artifacts/native";
        }
    }

    /// <summary>The library that computes convolutions on the CPU.</summary>
    /// <param name="isOneDnnWrong">Whether oneDNN computes some convolutions wrongly.</param>
    internal static Finding Convolutions(bool isOneDnnWrong) => isOneDnnWrong
        ? new("convolutions", FindingState.Optional,
            "this libtorch's oneDNN computes some wrongly, so they go another way: right, but slower in training a VAE; another libtorch avoids it")
        : new("convolutions", FindingState.Ok, "libtorch's, which passed a check");

    // Which number type a run takes depends on it (docs/decisions/0026).
    private static string Products(double narrow) => $"products in bfloat16 {ProductSpeed.Tenths(narrow)} times as fast as in float32";

    private static string Reason(Exception e) => e switch
    {
        TypeInitializationException { InnerException: { } inner } => Reason(inner),
        _ => Faults.Sentence(e),
    };

    private static Finding Gpu()
    {
        if (TorchRuntime.HasCuda)
            return new Finding("GPU", FindingState.Ok, "yes");
        return File.Exists("/proc/driver/nvidia/version")
            ? new Finding("GPU", FindingState.Optional, "there is one, but this libtorch was built without CUDA",
                $"pip install torch && export LIBTORCH_USE_PIP=1 && {Compile}")
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

/// <summary>Prints what the doctor found.</summary>
internal static class DoctorReport
{
    /// <summary>A table with the fixes after it, or one JSON object.</summary>
    public static void Print(IReadOnlyList<Finding> findings, bool json, CliConsole console)
    {
        if (json)
        {
            console.Result(Json(findings));
            return;
        }

        var table = new Table { Border = TableBorder.None, ShowHeaders = false };
        table.AddColumns("", "", "");
        foreach (var finding in findings)
            table.AddRow(new Text(Mark(finding.State)), new Text(finding.Name), new Text(finding.Value));
        console.Result(table);
        foreach (var finding in findings.Where(f => f.Fix is not null))
            console.Result($"to get {finding.Name}: {finding.Fix}");
        if (findings.All(f => f.State != FindingState.Missing))
            console.Result("ready");
    }

    private static string Mark(FindingState state) => state switch
    {
        FindingState.Ok => "ok",
        FindingState.Optional => "note",
        _ => "MISSING",
    };

    private static string Json(IReadOnlyList<Finding> findings) => ReadableJson.Write(indented: true, write: json =>
    {
        json.WriteStartObject();
        json.WriteBoolean("ok", findings.All(f => f.State != FindingState.Missing));
        json.WriteStartArray("checks");
        foreach (var finding in findings)
        {
            json.WriteStartObject();
            json.WriteString("name", finding.Name);
            json.WriteString("state", finding.State.ToString().ToLowerInvariant());
            json.WriteString("value", finding.Value);
            json.WriteString("fix", finding.Fix);
            json.WriteEndObject();
        }

        json.WriteEndArray();
        json.WriteEndObject();
    });
}
