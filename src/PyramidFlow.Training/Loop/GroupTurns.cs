using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>Work that several processes share the result of.</summary>
internal static class GroupTurns
{
    /// <summary>Runs something that makes a file if it is not there: the first process before all others, who find it made.</summary>
    /// <param name="group">The processes, or null for one.</param>
    /// <param name="openOrMake">What to run.</param>
    internal static T InTurn<T>(this ProcessGroup? group, Func<T> openOrMake)
    {
        if (group is { Rank: > 0 })
            group.Barrier();
        var result = openOrMake();
        if (group is { Rank: 0 })
            group.Barrier();
        return result;
    }
}
