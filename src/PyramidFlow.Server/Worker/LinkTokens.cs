using System.Security.Cryptography;
using System.Text.RegularExpressions;
using Microsoft.AspNetCore.DataProtection;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>What a token is for; a token for one purpose is none for another.</summary>
internal enum LinkPurpose
{
    /// <summary>Shows a video to anybody (<see cref="ShareLinks"/>).</summary>
    Share,

    /// <summary>Shows a picture that was asked for by the images API.</summary>
    Image,
}

/// <summary>
/// Tokens in links by which anybody sees one video until a time. A token holds video and owner, encrypted and signed with the keys of the data folder, so that nothing is stored and all servers of the folder know it. It ends
/// with its time, with the video, and with the key of the owner. Whoever has a token sees the video, so tokens stand in no log (<see cref="Hide"/>).
/// </summary>
internal sealed partial class LinkTokens(IVideoJobs jobs, IDataProtectionProvider protection)
{
    private readonly ITimeLimitedDataProtector shares = Protector(protection, "pyramidflow.shared-video"), images = Protector(protection, "pyramidflow.images");

    /// <summary>Makes a token.</summary>
    /// <param name="purpose">What it is for.</param>
    /// <param name="job">The video.</param>
    /// <param name="time">How long it holds.</param>
    public string Create(LinkPurpose purpose, VideoJob job, TimeSpan time) => For(purpose).Protect($"{job.Id} {job.Owner.Name}", time);

    /// <summary>The video of a token.</summary>
    /// <exception cref="JobException">The token has ended, or is none for this purpose.</exception>
    public async Task<VideoJob> FindAsync(LinkPurpose purpose, string token, CancellationToken cancellationToken)
    {
        try
        {
            return For(purpose).Unprotect(token).Split(' ', 2) is [var id, var owner] ? await jobs.GetAsync(new Owner(owner), id, cancellationToken).ConfigureAwait(false) : throw new FormatException("no owner");
        }
        catch (Exception e) when (e is CryptographicException or FormatException or JobException { Kind: JobFaultKind.NotFound or JobFaultKind.NoKey })
        {
            throw ServiceFault.LinkEnded(e);
        }
    }

    /// <summary>A path as logs may have it, without tokens.</summary>
    public static string Hide(PathString path) => Token.Replace(path.ToUriComponent(), "(token)");

    // What protects data begins each text with the same bytes.
    [GeneratedRegex("CfDJ8[A-Za-z0-9_-]*")]
    private static partial Regex Token { get; }

    private static ITimeLimitedDataProtector Protector(IDataProtectionProvider protection, string name) => protection.CreateProtector(name).ToTimeLimitedDataProtector();

    private ITimeLimitedDataProtector For(LinkPurpose purpose) => purpose == LinkPurpose.Share ? shares : images;
}
