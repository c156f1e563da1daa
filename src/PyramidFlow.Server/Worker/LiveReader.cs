using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Reads the live stream of a video while a worker of this or another process writes it. When the worker is lost, the reader waits for the next attempt and goes on after what was sent: the frames are
/// the same, and so are the bytes where the encoder is the same.
/// </summary>
internal sealed class LiveReader(IJobStore store, JobSignals signals, VideoFolder folder)
{
    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(300);

    /// <summary>Reads from the beginning to the end of the video.</summary>
    /// <exception cref="OperationCanceledException">A later attempt has other bytes, or fewer, so that the rest does not fit what was sent.</exception>
    public async IAsyncEnumerable<ReadOnlyMemory<byte>> ReadAsync(VideoJob job, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var buffer = new byte[1 << 16];
        using var sent = new SentBytes();
        FileStream? file = null;
        try
        {
            for (var ended = false; ; ended = job.HasEnded)
            {
                var signal = signals.Next;
                file ??= job.Status == VideoStatus.Queued ? null
                    : Open(folder.Live(job.Id, job.Attempt)) ?? (job.Status == VideoStatus.Completed ? Open(folder.Video(job.Id, job.Attempt)) : null);
                while (file is not null && await file.ReadAsync(buffer, cancellationToken).ConfigureAwait(false) is > 0 and var count)
                {
                    if (sent.Next(buffer.AsMemory(0, count)) is { Length: > 0 } piece)
                        yield return piece;
                }

                // Everything written before the end was observed has been read by now.
                if (ended && sent.IsBehind)
                    throw new OperationCanceledException("the last attempt has less than was sent");
                if (ended)
                    yield break;
                if (!job.HasEnded)
                    await JobSignals.WaitAsync(signal, Look, cancellationToken).ConfigureAwait(false);
                if (await store.FindAsync(job.Id, cancellationToken).ConfigureAwait(false) is not { } now)
                    yield break;
                if ((now.Attempt, now.StartedAt, now.Status == VideoStatus.Queued) != (job.Attempt, job.StartedAt, job.Status == VideoStatus.Queued))
                {
                    // An attempt that was returned to the queue gives its number to the next one.
                    if (file is not null)
                        await file.DisposeAsync().ConfigureAwait(false);
                    file = null;
                    sent.BeginAgain();
                }

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

/// <summary>What a listener has been sent of a stream that may begin again. It is known by its hash, so that it takes no memory.</summary>
internal sealed class SentBytes : IDisposable
{
    private readonly IncrementalHash sent = IncrementalHash.CreateHash(HashAlgorithmName.SHA256), again = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
    private long count, position;

    /// <summary>Whether the stream has begun again and has not reached what was sent.</summary>
    public bool IsBehind => position < count;

    /// <summary>The stream begins again, with the same bytes as before.</summary>
    public void BeginAgain()
    {
        position = 0;
        again.GetHashAndReset();
    }

    /// <summary>The part of the next bytes that was not sent yet; it counts as sent.</summary>
    /// <exception cref="OperationCanceledException">The stream has begun with other bytes.</exception>
    public ReadOnlyMemory<byte> Next(ReadOnlyMemory<byte> bytes)
    {
        var known = (int)Math.Min(bytes.Length, count - position);
        if (known > 0)
        {
            again.AppendData(bytes.Span[..known]);
            if (position + known == count && !again.GetCurrentHash().AsSpan().SequenceEqual(sent.GetCurrentHash()))
                throw new OperationCanceledException("the video is made again with other bytes than those that were sent");
        }

        position += bytes.Length;
        sent.AppendData(bytes.Span[known..]);
        count = Math.Max(count, position);
        return bytes[known..];
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        sent.Dispose();
        again.Dispose();
    }
}
