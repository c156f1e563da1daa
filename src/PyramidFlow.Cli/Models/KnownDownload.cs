using PyramidFlow.Hub.Downloads;

namespace PyramidFlow.Cli.Models;

/// <summary>A released checkpoint that can be downloaded by name.</summary>
/// <param name="Name">What it is called here; also its folder.</param>
/// <param name="Repository">Where it is.</param>
/// <param name="Variants">Its transformers.</param>
/// <param name="What">One phrase about it.</param>
internal sealed record KnownDownload(string Name, string Repository, IReadOnlyList<string> Variants, string What)
{
    /// <summary>The released checkpoints.</summary>
    public static IReadOnlyList<KnownDownload> All { get; } =
    [
        new("pyramid-flow-miniflux", "rain1011/pyramid-flow-miniflux", ["384p", "768p", "image"], "the newer release, miniFLUX"),
        new("pyramid-flow-sd3", "rain1011/pyramid-flow-sd3", ["384p", "768p"], "the first release, SD3"),
    ];

    /// <summary>The repository and the folder's name of what was typed: a known name or OWNER/NAME.</summary>
    /// <exception cref="UsageException">It is neither.</exception>
    public static (HubSource Source, string Name) Find(string typed, string revision)
    {
        if (All.FirstOrDefault(known => known.Name == typed) is { } found)
            return (new HubSource(found.Repository, revision), found.Name);
        if (!typed.Contains('/', StringComparison.Ordinal))
            throw new UsageException($"unknown model '{typed}': use {string.Join(", ", All.Select(known => known.Name))}, or OWNER/NAME of a repository");
        try
        {
            return (new HubSource(typed, revision), typed[(typed.LastIndexOf('/') + 1)..]);
        }
        catch (HubException e)
        {
            throw new UsageException(e.Message, e);
        }
    }
}
