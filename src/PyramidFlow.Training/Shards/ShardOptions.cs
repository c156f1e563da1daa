using PyramidFlow.Hub.Downloads;
using PyramidFlow.Models;

namespace PyramidFlow.Training.Shards;

/// <summary>How shards are read.</summary>
internal sealed record ShardOptions
{
    /// <summary>Timeouts and retries of HTTP.</summary>
    public HubOptions Network { get; init; } = new() { Stall = TimeSpan.FromSeconds(30), FirstWait = TimeSpan.FromSeconds(0.5), LongestWait = TimeSpan.FromMinutes(1) };

    /// <summary>A connection that brings fewer bytes in a second counts as dropped, however often it brings some.</summary>
    public int LeastRate { get; init; } = 16 << 10;

    /// <summary>Shards whose headers are read at a time.</summary>
    public int Parallel { get; init; } = 8;

    /// <summary>Folder of the indexes; null keeps none.</summary>
    public string? IndexFolder { get; init; } = CacheFolder.Shards;

    /// <summary>Takes a shard that has changed as it is now; otherwise a change is an error.</summary>
    public bool TakesChanges { get; init; }

    /// <summary>Where members are put for a decoder.</summary>
    public Spool Spool { get; init; } = Spool.Shared;
}
