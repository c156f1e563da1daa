namespace PyramidFlow.Training.Objectives;

/// <summary>
/// How many units of a clip each stage trains on in the autoregressive objective. The highest resolution goes through all
/// counts while the others get what is left, so that every batch costs about the same; processes that share a clip train
/// different counts of it.
/// </summary>
public sealed record StageLengths
{
    /// <summary>Latent frames of the longest clip; at least 1.</summary>
    public int MaxTemporalLength { get; init; } = 16;

    /// <summary>Latent frames of a unit after the first; at least 1.</summary>
    public int FramesPerUnit { get; init; } = 1;

    /// <summary>Processes that share a clip (<c>video_sync_group</c>); at least 1.</summary>
    public int SyncGroup { get; init; } = 8;

    /// <summary>
    /// Counts as the released code does: with fewer processes than <see cref="SyncGroup"/> some counts never come up
    /// (one process and a group of 8 train 1, 9, 17, ... only). For comparison.
    /// </summary>
    public bool AsReleased { get; init; }

    /// <summary>Units of the longest clip.</summary>
    public int MaxUnits => UnitsOf(MaxTemporalLength);

    /// <summary>Units of a clip.</summary>
    /// <param name="frames">Its latent frames; those that fill no whole unit are not counted.</param>
    public int UnitsOf(long frames) => 1 + (int)((frames - 1) / FramesPerUnit);

    /// <summary>Counts for one batch.</summary>
    /// <param name="batch">Number of the batch, from 0: every forward pass of a process counts.</param>
    /// <param name="stages">Number of stages.</param>
    /// <param name="rank">This process, from 0.</param>
    /// <param name="ranks">Number of processes.</param>
    /// <param name="available">Units the clip has; null is <see cref="MaxUnits"/>.</param>
    /// <returns>Units for each stage, lowest resolution first; each from 1 to what the clip has.</returns>
    /// <exception cref="InvalidOperationException"><see cref="AsReleased"/>, and the longest clip has fewer units than the group processes.</exception>
    public IReadOnlyList<int> At(long batch, int stages, int rank = 0, int ranks = 1, int? available = null)
    {
        var most = Math.Min(available ?? MaxUnits, MaxUnits);
        var (high, others) = AsReleased ? Released(batch, rank) : Balanced(batch, rank, Math.Min(ranks, SyncGroup), most);
        return [.. Enumerable.Repeat(Math.Min(others, most), stages - 1), Math.Min(high, most)];
    }

    // The processes of a group take neighbouring counts, and the next batch goes on behind them.
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
