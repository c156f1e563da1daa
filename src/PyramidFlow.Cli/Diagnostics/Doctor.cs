using System.Runtime.InteropServices;
using PyramidFlow.Models;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Media;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Diagnostics;

/// <summary>Looks at everything the program needs.</summary>
internal static class Doctor
{
    private const long LeastFreeBytes = 1L << 30;

    /// <summary>All findings, in the order of a table.</summary>
    public static async Task<IReadOnlyList<Finding>> ExamineAsync(CancellationToken cancel) =>
    [
        new(".NET", FindingState.Ok, $"{RuntimeInformation.FrameworkDescription} on {RuntimeInformation.OSDescription}, {RuntimeInformation.ProcessArchitecture}"),
        .. TorchFindings.Examine(),
        await FfmpegAsync(cancel).ConfigureAwait(false),
        .. ModelFindings(),
        Disk(),
    ];

    private static async Task<Finding> FfmpegAsync(CancellationToken cancel)
    {
        try
        {
            return new Finding("ffmpeg", FindingState.Ok, await FfmpegTools.FromEnvironment().ReadVersionAsync(cancel).ConfigureAwait(false));
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
            var problems = CheckpointReport.Create(CheckpointFolder.Open(folder)).Variants.SelectMany(variant => variant.Faults).Distinct().ToList();
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
