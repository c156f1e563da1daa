using System.Security.Cryptography;
using Microsoft.AspNetCore.DataProtection;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>
/// Links by which anybody sees one video until a time. A link holds video, owner and time, encrypted and signed with the keys of the data folder, so that nothing is stored and all servers of the folder know it. It ends with
/// its time, with the video, and with the key of the owner.
/// </summary>
internal sealed class ShareLinks(IVideoJobs jobs, IDataProtectionProvider protection)
{
    /// <summary>Path of shared videos.</summary>
    public const string Path = "/shared";

    private readonly ITimeLimitedDataProtector protector = protection.CreateProtector("pyramidflow.shared-video").ToTimeLimitedDataProtector();

    /// <summary>The shortest and the longest time of a link, in seconds.</summary>
    public const int LeastSeconds = 60, MostSeconds = 366 * 24 * 60 * 60;

    /// <summary>The address of a link, relative to the service.</summary>
    public static string AddressOf(string token) => $"{Path}/{token}";

    /// <summary>Makes a link to a completed video.</summary>
    /// <exception cref="JobException">The owner has no such video, or it is not complete.</exception>
    public async Task<string> CreateAsync(Owner owner, string id, TimeSpan time, CancellationToken cancellationToken = default)
    {
        var job = await jobs.GetAsync(owner, id, cancellationToken).ConfigureAwait(false);
        return job.Status == VideoStatus.Completed ? protector.Protect($"{id} {owner.Name}", time) : throw ServiceFault.NotReady(job);
    }

    /// <summary>The video of a link.</summary>
    /// <exception cref="JobException">The link has ended, or is none.</exception>
    public async Task<VideoJob> FindAsync(string token, CancellationToken cancellationToken)
    {
        try
        {
            var parts = protector.Unprotect(token).Split(' ', 2);
            return await jobs.GetAsync(new Owner(parts[1]), parts[0], cancellationToken).ConfigureAwait(false);
        }
        catch (Exception e) when (e is CryptographicException or FormatException or JobException { Kind: JobFaultKind.NotFound or JobFaultKind.NoKey })
        {
            throw ServiceFault.LinkEnded(e);
        }
    }
}
