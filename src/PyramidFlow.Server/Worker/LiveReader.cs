using System.Runtime.CompilerServices;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>Reads a video while a worker, here or elsewhere, writes it: what is there, then what comes, until it ends.</summary>
internal sealed class LiveReader(IJobStore store, JobSignals signals, VideoFolder folder)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(300);

    public async IAsyncEnumerable<ReadOnlyMemory<byte>> ReadAsync(VideoJob job, [EnumeratorCancellation] CancellationToken cancel)
    {
        var buffer = new byte[1 << 16];
        FileStream? file = null;
        try
        {
            for (var ended = false; ; ended = job.Status != VideoStatus.InProgress)
            {
                var signal = signals.Next;
                file ??= Open(folder.Live(job.Id, job.Attempt)) ?? (job.Status == VideoStatus.Completed ? Open(folder.Video(job.Id, job.Attempt)) : null);
                while (file is not null && await file.ReadAsync(buffer, cancel).ConfigureAwait(false) is > 0 and var count)
                    yield return buffer.AsMemory(0, count);
                // What was written before the end was seen has been read by now.
                if (ended)
                    yield break;
                if (job.Status == VideoStatus.InProgress)
                    await JobSignals.WaitAsync(signal, Look, cancel).ConfigureAwait(false);
                if (await store.FindAsync(job.Id, cancel).ConfigureAwait(false) is not { } now || now.Attempt != job.Attempt)
                    yield break;
                job = now;
            }
        }
        finally
        {
            if (file is not null)
                await file.DisposeAsync().ConfigureAwait(false);
        }
    }

    private static FileStream? Open(string path)
    {
        try
        {
            return new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, 1, useAsync: true);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
    }
}
