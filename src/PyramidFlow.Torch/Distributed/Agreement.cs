using System.Diagnostics;
using System.Globalization;

namespace PyramidFlow.Torch.Distributed;

/// <summary>Comparison of the processes of a group through the store, before they move tensors: all are there, and all do the same work.</summary>
/// <param name="rendezvous">Rank of this process.</param>
/// <param name="options">Limit of waits.</param>
/// <param name="store">The store.</param>
/// <param name="roll">Knows whether another process has ended.</param>
internal sealed class Agreement(Rendezvous rendezvous, GroupOptions options, KeyValueStore store, RollCall roll)
{
    private int agreements;

    /// <summary>Waits until as many processes are there as all of them expect.</summary>
    /// <exception cref="ProcessGroupException">They do not come, there are others, or two have the same rank.</exception>
    internal void Meet(CancellationToken cancellationToken)
    {
        var (rank, worldSize) = (rendezvous.Rank, rendezvous.WorldSize);
        if (store.Count($"came/{rank}") > 1)
            throw ProcessGroupFault.RankTaken(rank, worldSize);
        store.Set($"size/{rank}", worldSize.ToString(CultureInfo.InvariantCulture));
        var sizes = WaitForAll(other => $"size/{other}", cancellationToken);
        if (Array.FindIndex(sizes, size => size != sizes[rank]) is >= 0 and var first)
            throw ProcessGroupFault.Differs(first, "WORLD_SIZE", sizes[rank], sizes[first]);
    }

    /// <summary>Makes sure that all processes say the same; see <see cref="ProcessGroup.Agree"/>.</summary>
    internal void Compare(IEnumerable<(string Name, string Value)> facts, CancellationToken cancellationToken)
    {
        var number = agreements++;
        store.Set(Key(rendezvous.Rank), string.Join('\n', facts.Select(fact => $"{fact.Name}\t{fact.Value}".ReplaceLineEndings(" "))));
        var said = WaitForAll(Key, cancellationToken).Select(text => text.Split('\n')).ToArray();
        for (var rank = 1; rank < said.Length; rank++)
        {
            foreach (var (first, other) in Pairs(said[0], said[rank]))
            {
                if (first != other)
                    throw ProcessGroupFault.Differs(rank, NameOf(first ?? other!), ValueOf(first), ValueOf(other));
            }
        }

        string Key(int rank) => string.Create(CultureInfo.InvariantCulture, $"agree/{number}/{rank}");

        static IEnumerable<(string? First, string? Other)> Pairs(string[] first, string[] other)
        {
            var theirs = other.DistinctBy(NameOf).ToDictionary(NameOf, StringComparer.Ordinal);
            foreach (var fact in first.DistinctBy(NameOf))
                yield return (fact, theirs.Remove(NameOf(fact), out var same) ? same : null);
            foreach (var fact in theirs.Values)
                yield return (null, fact);
        }

        static string NameOf(string fact) => fact.Split('\t')[0];

        static string ValueOf(string? fact) => fact?.Split('\t', 2) is [_, var value] ? value : "nothing";
    }

    // Values of all ranks under their keys, once all have written them.
    private string[] WaitForAll(Func<int, string> key, CancellationToken cancellationToken)
    {
        var values = new string?[rendezvous.WorldSize];
        var begin = Stopwatch.GetTimestamp();
        while (true)
        {
            for (var rank = 0; rank < values.Length; rank++)
                values[rank] ??= store.TryGet(key(rank));
            if (!values.Contains(null))
                return values!;
            roll.ThrowIfEnded();
            var waited = Stopwatch.GetElapsedTime(begin);
            int[] missing = [.. values.Index().Where(value => value.Item is null).Select(value => value.Index)];
            if (waited > options.Limit)
                throw ProcessGroupFault.Absent(missing, values.Length, options.Limit);
            options.Waiting?.Report(new GroupWaiting(missing, values.Length, waited, options.Limit));
            if (cancellationToken.WaitHandle.WaitOne(20))
                cancellationToken.ThrowIfCancellationRequested();
        }
    }
}
