using PyramidFlow.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Hub;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.Downloads;

namespace PyramidFlow.Cli.Models;

/// <summary><c>models download</c>: brings a variant of a checkpoint and says how to use it.</summary>
internal sealed class DownloadRun(CliConsole console)
{
    public async Task<int> RunAsync(string name, string? variant, string revision, string? output, int? parallel, CancellationToken cancel)
    {
        var (source, shortName) = ModelNames.FindDownload(name, revision);
        var folder = output ?? DefaultFolder(shortName);
        using var line = new ProgressLine(console);
        var options = new HubOptions { Notify = note => Say(line, note) };
        using var client = new HubClient(HubEndpoint.FromEnvironment(), parallel is { } count ? options with { Parallel = count } : options);
        var plan = DownloadPlan.Create(source, await client.ListAsync(source, cancel).ConfigureAwait(false), variant, folder);
        console.Note($"{source.Repository}, {ModelList.VariantName(plan.Variant)}: {plan.Files.Count} files, {Bytes.Text(plan.TotalBytes)}"
            + (plan.KeptBytes > 0 ? $", of which {Bytes.Text(plan.KeptBytes)} are there" : "")
            + (plan.Others.Count > 0 && variant is null ? $" (--variant {string.Join(" or ", plan.Others)} for another)" : ""));
        try
        {
            await ModelDownload.RunAsync(client, plan, new Watch(line), cancel).ConfigureAwait(false);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException)
        {
            line.Clear();
            if (plan.KeptBytes > 0)
                console.Note($"{Bytes.Text(plan.KeptBytes)} of {Bytes.Text(plan.TotalBytes)} are kept in {plan.Folder} (unfinished files are called .*.partial): the same command goes on from there");
            throw;
        }

        line.Clear();
        return Finish(plan);
    }

    // The first folder that is searched for models, else the current one.
    private static string DefaultFolder(string name) => Path.Combine(ModelCatalog.NamedRoots() is [var first, ..] ? first : ".", name);

    // Right bytes can still be of a model that this program cannot run.
    private int Finish(DownloadPlan plan)
    {
        var report = CheckpointReport.Create(CheckpointFolder.Open(plan.Folder), plan.Variant).Variants[0];
        foreach (var fault in report.Faults)
            console.Warn(fault);
        console.Result(plan.Folder);
        if (!report.Runs)
            return ExitCode.Failed;
        var option = plan.Variant.Length > 0 ? $" --variant {plan.Variant}" : "";
        console.Note($"to use it: {CommandLine.Name} generate \"...\" --model {plan.Folder}{option}");
        return ExitCode.Ok;
    }

    private void Say(ProgressLine line, string note)
    {
        line.Clear();
        console.Note(note);
    }

    private sealed class Watch(ProgressLine line) : IProgress<DownloadProgress>
    {
        public void Report(DownloadProgress value) => line.Update("downloading",
            $"{Bytes.Text(value.Bytes)} of {Bytes.Text(value.TotalBytes)}, {value.Files} of {value.TotalFiles} files, {Bytes.Text(value.BytesPerSecond)}/s",
            value.TotalBytes > 0 ? (double)value.Bytes / value.TotalBytes : 1, value.Left ?? TimeSpan.Zero);
    }
}
