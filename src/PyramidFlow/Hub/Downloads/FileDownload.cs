using System.Globalization;
using System.Net;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Fetches one file: goes on where an earlier try stopped, checks size and hash, and names it when it is whole.</summary>
/// <param name="client">Whom to ask.</param>
/// <param name="source">The repository.</param>
/// <param name="file">The file.</param>
/// <param name="target">Full path to write to; its folder exists.</param>
/// <param name="meter">Told what has come.</param>
internal sealed class FileDownload(HubClient client, HubSource source, HubFile file, string target, TransferMeter meter)
{
    private const long WorthCounting = 1 << 20;

    private readonly RetryLoop retries = new(client.Options);
    private bool wrongOnce;

    /// <summary>Fetches it unless it is there.</summary>
    /// <exception cref="HubException">It is refused, stays out of reach, or is not what the hub lists.</exception>
    internal async Task RunAsync(CancellationToken cancel)
    {
        if (Directory.Exists(target))
            throw new HubException($"{target} is a folder where a file belongs: remove it, or choose another place");
        if (File.Exists(target) && await ContentHash.MatchesAsync(target, file, cancel).ConfigureAwait(false))
        {
            meter.Found(file.Size);
            return;
        }

        using var partial = await ResumableFile.OpenAsync(target, file, cancel).ConfigureAwait(false);
        meter.Found(partial.Length);
        await retries.RunAsync(() => AttemptAsync(partial, cancel), cancel).ConfigureAwait(false);
    }

    private async Task<bool> AttemptAsync(ResumableFile partial, CancellationToken cancel)
    {
        if (partial.Length < file.Size || file.Size == 0)
            await FetchAsync(partial, cancel).ConfigureAwait(false);
        if (partial.TryFinish(target))
            return true;
        Restart(partial);
        if (wrongOnce)
        {
            throw new HubException($"{file.Path} of {source.Repository} does not have the hash that {client.Hub.Address.Host} lists, twice in a row: "
                + "try again later, or set HF_ENDPOINT to another mirror");
        }

        wrongOnce = true;
        throw new TransientException($"{file.Path} arrived damaged");
    }

    private async Task FetchAsync(ResumableFile partial, CancellationToken cancel)
    {
        using var response = await client.OpenAsync(source, file, partial.Length, cancel).ConfigureAwait(false);
        // Some servers send the whole file whatever was asked for.
        if (partial.Length > 0 && (response.StatusCode != HttpStatusCode.PartialContent || response.Content.Headers.ContentRange?.From != partial.Length))
        {
            Restart(partial);
            if (response.StatusCode == HttpStatusCode.PartialContent)
                throw new TransientException($"{client.Hub.Address.Host} sent another part of {file.Path} than asked for");
        }

        var first = partial.Length;
        CheckLength(response.StatusCode == HttpStatusCode.PartialContent
            ? response.Content.Headers.ContentRange?.Length
            : response.Content.Headers.ContentLength);
        using var watch = new StallWatch(client.Options, response.RequestMessage?.RequestUri?.Host ?? client.Hub.Address.Host, cancel);
        await watch.CopyAsync(response, async (bytes, stop) =>
        {
            CheckLength(Math.Max(file.Size, partial.Length + bytes.Length));
            await partial.AddAsync(bytes, stop).ConfigureAwait(false);
            meter.Fetched(bytes.Length);
            if (partial.Length - first >= WorthCounting)
                retries.Progressed();
        }).ConfigureAwait(false);
        if (partial.Length < file.Size)
            throw new TransientException($"the connection ended {file.Size - partial.Length} bytes before the end of {file.Path}");
    }

    private void CheckLength(long? length)
    {
        if (length is { } bytes && bytes != file.Size)
        {
            throw new HubException(string.Create(CultureInfo.InvariantCulture,
                $"{client.Hub.Address.Host} sends {bytes} bytes of {file.Path} where it lists {file.Size}: try again later, or set HF_ENDPOINT to another mirror"));
        }
    }

    private void Restart(ResumableFile partial)
    {
        meter.Found(-partial.Length);
        partial.Restart();
    }
}
