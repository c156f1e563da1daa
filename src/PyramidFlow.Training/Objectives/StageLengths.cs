namespace PyramidFlow.Training.Objectives;

/// <summary>
/// Number of units of a clip that each stage trains on in the autoregressive objective. The highest resolution cycles through all
/// counts while the other stages take the complement, so that all batches cost about the same. Processes that share a clip train on
/// different counts of it.
/// </summary>
internal sealed record StageLengths
{
    /// <summary>Latent frames of the longest clip; at least 1.</summary>
    public int MaxTemporalLength { get; init; } = 16;

    /// <summary>Latent frames of a unit after the first; at least 1.</summary>
    public int FramesPerUnit { get; init; } = 1;

    /// <summary>Processes that share a clip (<c>video_sync_group</c>); at least 1.</summary>
    public int SyncGroup { get; init; } = 8;

    /// <summary>
    /// Uses the counts of the released code, for comparison: with fewer processes than <see cref="SyncGroup"/> some counts never
    /// occur (one process in a group of 8 trains on 1, 9, 17, ... only).
    /// </summary>
    public bool AsReleased { get; init; }

    /// <summary>Number of units of the longest clip.</summary>
    public int MaxUnits => UnitsOf(MaxTemporalLength);

    /// <summary>Number of units of a clip.</summary>
    /// <param name="frames">Number of latent frames; an incomplete last unit does not count.</param>
    public int UnitsOf(long frames) => 1 + (int)((frames - 1) / FramesPerUnit);

    /// <summary>Counts of one batch.</summary>
    /// <param name="batch">Number of the micro-batch of this process, from 0.</param>
    /// <param name="stages">Number of stages.</param>
    /// <param name="rank">Rank of this process, from 0.</param>
    /// <param name="ranks">Number of processes.</param>
    /// <param name="available">Units of the clip; null is <see cref="MaxUnits"/>.</param>
    /// <returns>Number of units for each stage, lowest resolution first; each from 1 to the units of the clip.</returns>
    /// <exception cref="InvalidOperationException"><see cref="AsReleased"/> is set, and the longest clip has fewer units than the group has processes.</exception>
    public IReadOnlyList<int> At(long batch, int stages, int rank = 0, int ranks = 1, int? available = null)
    {
        var most = Math.Min(available ?? MaxUnits, MaxUnits);
        var (high, others) = AsReleased ? Released(batch, rank) : Balanced(batch, rank, Math.Min(ranks, SyncGroup), most);
        return [.. Enumerable.Repeat(Math.Min(others, most), stages - 1), Math.Min(high, most)];
    }

    // The ranks of a group take consecutive counts, and the next batch continues after them.
    private static (int High, int Others) Balanced(long batch, int rank, int group, int most)
    {
        var high = 1 + (int)(((batch * group) + (rank % group)) % most);
        return (high, 1 + most - high);
    }

    private (int High, int Others) Released(long batch, int rank)
    {
        var turns = MaxUnits / SyncGroup;
        if (turns == 0)
            throw new InvalidOperationException($"the released code cannot train clips of {MaxUnits} units in groups of {SyncGroup} processes: use a group of at most {MaxUnits}");
        var high = (rank % SyncGroup) + 1 + (int)((batch + 1) % turns * SyncGroup);
        return (high, Math.Max(1, 1 + MaxUnits - high));
    }
}
