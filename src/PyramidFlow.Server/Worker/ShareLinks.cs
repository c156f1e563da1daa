using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>Links by which anybody sees one completed video until a time.</summary>
internal sealed class ShareLinks(IVideoJobs jobs, LinkTokens tokens)
{
    /// <summary>Path of shared videos.</summary>
    public const string Path = "/shared";

    /// <summary>The shortest and the longest time of a link, in seconds.</summary>
    public const int LeastSeconds = 60, MostSeconds = 366 * 24 * 60 * 60;

    /// <summary>The time of a link where none is asked for, in seconds.</summary>
    public const int UsualSeconds = 7 * 24 * 60 * 60;

    /// <summary>The address of a link, relative to the service.</summary>
    public static string AddressOf(string token) => $"{Path}/{token}";

    /// <summary>Makes a link to a completed video.</summary>
    /// <returns>Its token.</returns>
    /// <exception cref="JobException">The owner has no such video, or it is not complete.</exception>
    public async Task<string> CreateAsync(Owner owner, string id, TimeSpan time, CancellationToken cancellationToken = default)
    {
        var job = await jobs.GetAsync(owner, id, cancellationToken).ConfigureAwait(false);
        return job.Status == VideoStatus.Completed ? tokens.Create(LinkPurpose.Share, job, time) : throw ServiceFault.NotReady(job);
    }

    /// <summary>The video of a link.</summary>
    /// <exception cref="JobException">The link has ended, or is none.</exception>
    public Task<VideoJob> FindAsync(string token, CancellationToken cancellationToken) => tokens.FindAsync(LinkPurpose.Share, token, cancellationToken);
}
