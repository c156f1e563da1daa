using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>Keeps the folder as the queue says it should be.</summary>
/// <param name="store">The queue.</param>
/// <param name="folder">The folder.</param>
/// <param name="options">How long and how much is kept.</param>
internal sealed class FileCare(IJobStore store, VideoFolder folder, ServerOptions options)
{
    // A request's files are there before its job is; a file that is written to is not old.
    private static readonly TimeSpan Young = TimeSpan.FromMinutes(10);

    /// <summary>Removes videos that are too old or too many, then files of no video, or of an attempt that is over.</summary>
    public async Task CareAsync(CancellationToken cancel)
    {
        await ForgetAsync(cancel).ConfigureAwait(false);
        await SweepAsync(Young, cancel).ConfigureAwait(false);
    }

    /// <summary>Removes files of no video and of attempts that are over, unless they were written to of late.</summary>
    public async Task SweepAsync(TimeSpan young, CancellationToken cancel)
    {
        // Listed first: a job that comes meanwhile has no folder in the list.
        var folders = Directory.Exists(folder.Videos) ? Directory.GetDirectories(folder.Videos) : [];
        var states = await store.StatesAsync(cancel).ConfigureAwait(false);
        foreach (var path in folders)
        {
            cancel.ThrowIfCancellationRequested();
            var id = Path.GetFileName(path);
            if (!states.TryGetValue(id, out var state))
            {
                if (IsOld(path, young) && Directory.EnumerateFiles(path).All(file => IsOld(file, young)))
                    Directory.Delete(path, recursive: true);
                continue;
            }

            if (state.IsUnreadable)
                continue;
            foreach (var file in Directory.EnumerateFiles(path).Where(file => !Belongs(Path.GetFileName(file), state) && IsOld(file, young)))
                File.Delete(file);
        }

        foreach (var file in Directory.Exists(folder.Incoming) ? Directory.EnumerateFiles(folder.Incoming).Where(file => IsOld(file, young)) : [])
            File.Delete(file);
    }

    private async Task ForgetAsync(CancellationToken cancel)
    {
        if (options.KeepDays is null && options.KeepBytes is null)
            return;
        var ended = (await store.StatesAsync(cancel).ConfigureAwait(false))
            .Where(job => job.Value.CompletedAt is not null)
            .OrderByDescending(job => job.Value.CompletedAt);
        var (oldest, bytes) = (DateTimeOffset.UtcNow - TimeSpan.FromDays(Math.Min(options.KeepDays ?? 36500, 36500)), 0L);
        foreach (var (id, state) in ended)
        {
            bytes += state.Bytes;
            if (state.CompletedAt >= oldest && (options.KeepBytes is not { } most || bytes <= most))
                continue;
            await store.DeleteAsync(id, cancel).ConfigureAwait(false);
            folder.Delete(id);
        }
    }

    // What a job begins with stays as long as it does, so that it can be remixed.
    private static bool Belongs(string name, StoredState state)
    {
        if (name.StartsWith("input.", StringComparison.Ordinal))
            return true;
        if (!name.StartsWith(FormattableString.Invariant($"{state.Attempt}."), StringComparison.Ordinal))
            return state.Status == VideoStatus.InProgress && name.StartsWith(FormattableString.Invariant($".{state.Attempt}."), StringComparison.Ordinal);
        return state.Status == VideoStatus.InProgress || (state.Status == VideoStatus.Completed && !name.Contains(".live.", StringComparison.Ordinal) && !name.Contains(".preview.", StringComparison.Ordinal));
    }

    private static bool IsOld(string path, TimeSpan young) => DateTime.UtcNow - File.GetLastWriteTimeUtc(path) > young;
}
