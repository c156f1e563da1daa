namespace PyramidFlow.Hub.Downloads;

/// <summary>Counts the bytes of all files together and knows the rate of the last seconds.</summary>
internal sealed class TransferMeter(long totalBytes, int totalFiles, TimeProvider time, IProgress<DownloadProgress>? progress)
{
    private static readonly TimeSpan Window = TimeSpan.FromSeconds(10), Grain = TimeSpan.FromMilliseconds(200);

    private readonly Lock gate = new();
    private readonly Queue<(long Time, long Fetched)> samples = new([(time.GetTimestamp(), 0L)]);
    private long bytes, fetched, last = time.GetTimestamp();
    private int files;

    /// <summary>Bytes found on the disk, or taken back.</summary>
    internal void Found(long count) => Change(count, 0, 0);

    /// <summary>Bytes from the network.</summary>
    internal void Fetched(long count) => Change(count, count, 0);

    /// <summary>A file is whole.</summary>
    internal void Finished() => Change(0, 0, 1);

    private void Change(long count, long news, int whole)
    {
        lock (gate)
        {
            (bytes, fetched, files) = (bytes + count, fetched + news, files + whole);
            var now = time.GetTimestamp();
            if (whole == 0 && time.GetElapsedTime(last, now) < Grain)
                return;
            last = now;
            samples.Enqueue((now, fetched));
            while (samples.Count > 2 && time.GetElapsedTime(samples.Peek().Time, now) > Window)
                samples.Dequeue();
            var seconds = time.GetElapsedTime(samples.Peek().Time, now).TotalSeconds;
            var rate = seconds > 0 ? (fetched - samples.Peek().Fetched) / seconds : 0;
            TimeSpan? left = rate > 1 ? TimeSpan.FromSeconds(Math.Min((totalBytes - bytes) / rate, 1e8)) : null;
            progress?.Report(new DownloadProgress(bytes, totalBytes, files, totalFiles, rate, left));
        }
    }
}
