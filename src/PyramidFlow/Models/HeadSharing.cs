using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Models;

/// <summary>
/// Several processes that run each pass of a transformer together: outside attention a process has a share of the tokens, in attention all tokens and a share of
/// the heads (DeepSpeed-Ulysses, arXiv 2309.14509). Keys and values that are kept are those of its heads. Shares need not be equal, and may be empty.
/// </summary>
/// <param name="group">The processes, which all make the same passes.</param>
internal sealed class HeadSharing(ProcessGroup group)
{
    /// <summary>Width of the largest share of the heads.</summary>
    /// <param name="config">The transformer.</param>
    /// <param name="processes">Number of processes.</param>
    internal static long LargestWidth(ITransformerConfig config, int processes) => (config.Heads + processes - 1) / processes * (config.Dim / config.Heads);

    /// <summary>Bytes that a process sends in one pass.</summary>
    /// <param name="config">The transformer.</param>
    /// <param name="type">Element type.</param>
    /// <param name="processes">Number of processes that divide the heads.</param>
    /// <param name="rank">The process, from 0.</param>
    /// <param name="rows">Rows of the batch.</param>
    /// <param name="sections">Lengths of the parts of the sequence that are divided separately: text, history and unit, as far as they run.</param>
    /// <param name="outputs">Tokens whose output is wanted, the last section; 0 for none.</param>
    internal static long BytesSent(ITransformerConfig config, ElementType type, int processes, int rank, long rows, IReadOnlyList<long> sections, long outputs)
    {
        var ownHeads = Own(config.Heads);
        var (head, others) = (config.Dim / config.Heads, config.Heads - ownHeads);
        var (tokens, queries) = (sections.Sum(Own), Own(outputs));
        var block = (3 * tokens * others) + ((sections.Sum() - tokens) * ownHeads);
        var last = (((2 * tokens) + queries) * others) + ((outputs - queries) * ownHeads);
        var result = queries * (processes - 1) * config.LatentChannels * Patches.Size * Patches.Size;
        return rows * type.Size() * ((((config.Blocks - 1) * block) + last) * head + result);

        long Own(long count) => VectorDivision.Share(count, processes, rank).Length;
    }

    /// <summary>This process's share of tokens.</summary>
    /// <param name="x">All tokens, [b, n, ...].</param>
    /// <param name="sections">Lengths of the parts of x that are divided separately.</param>
    /// <returns>[b, n', ...]: a share of each section, in order.</returns>
    internal Tensor Own(Tensor x, params IReadOnlyList<long> sections) => Share(x, sections, group.Rank);

    /// <summary>Number of tokens of this process's share.</summary>
    /// <param name="sections">Lengths of the parts that are divided separately.</param>
    internal long OwnLength(params IReadOnlyList<long> sections) => Length(sections, group.Rank);

    /// <summary>All tokens from the shares of all processes.</summary>
    /// <param name="own">The share of this process, [b, n', ...].</param>
    /// <param name="tokens">Number of all tokens, one section.</param>
    /// <returns>[b, n, ...] in every process.</returns>
    internal Tensor Whole(Tensor own, long tokens)
    {
        using var scope = new TensorScope();
        own = own.Contiguous();
        var leaving = own.To(group.MovingDevice);
        var shares = Ranks().Select(rank => rank == group.Rank ? leaving : Empty(leaving, 1, Share(tokens, rank).Length)).ToArray();
        Exchange(shares, [.. Ranks().Select(_ => leaving)]);
        return scope.Keep(Tensor.Cat(shares, 1).To(own.Device));
    }

    /// <summary>Goes over from a share of the tokens to a share of the heads.</summary>
    /// <param name="q">Queries of the tokens of this process, [b, nq', heads, head]; null where only keys are wanted.</param>
    /// <param name="k">Keys, [b, n', heads, head].</param>
    /// <param name="v">Values, likewise.</param>
    /// <param name="sections">Sections of the keys' tokens.</param>
    /// <param name="querySections">Sections of the queries' tokens.</param>
    /// <returns>Queries [b, nq, heads', head], keys and values [b, n, heads', head].</returns>
    internal (Tensor? Queries, Tensor Keys, Tensor Values) ToHeads(Tensor? q, Tensor k, Tensor v, IReadOnlyList<long> sections, IReadOnlyList<long> querySections)
    {
        using var scope = new TensorScope();
        var heads = k.Size(2);
        Tensor[] own = q is null ? [k, v] : [k, v, q];
        var leaving = Ranks().Select(rank => Tensor.Cat([.. own.Select(each => Heads(each, rank))], 1).To(group.MovingDevice)).ToArray();
        var arriving = Ranks().Select(rank => rank == group.Rank ? leaving[rank]
            : Empty(leaving[group.Rank], 1, (2 * Length(sections, rank)) + (q is null ? 0 : Length(querySections, rank)))).ToArray();
        Exchange(arriving, leaving);
        var lengths = Ranks().Select(rank => Length(sections, rank)).ToArray();
        return (q is null ? null : scope.Keep(InOrder(querySections, rank => 2 * lengths[rank])), scope.Keep(InOrder(sections, _ => 0)), scope.Keep(InOrder(sections, rank => lengths[rank])));

        // Tokens in the order of the sequence, from messages that hold them from a place on.
        Tensor InOrder(IReadOnlyList<long> parts, Func<int, long> start) => Tensor.Cat([.. Places(parts)
            .Select(place => arriving[place.Rank].Narrow(1, start(place.Rank) + place.InShare, place.Count))], 1).To(k.Device);

        Tensor Heads(Tensor x, int rank)
        {
            var (first, count) = Share(heads, rank);
            return x.Narrow(2, first, count);
        }
    }

    /// <summary>Goes back from a share of the heads to a share of the tokens.</summary>
    /// <param name="attended">Results of all tokens for the heads of this process, [b, n, heads' * head].</param>
    /// <param name="heads">Number of all heads.</param>
    /// <param name="sections">Sections of the tokens.</param>
    /// <returns>[b, n', heads * head].</returns>
    internal Tensor ToTokens(Tensor attended, long heads, IReadOnlyList<long> sections)
    {
        using var scope = new TensorScope();
        var head = attended.Size(2) / Share(heads, group.Rank).Length;
        var leaving = Ranks().Select(rank => Share(attended, sections, rank).Contiguous().To(group.MovingDevice)).ToArray();
        var arriving = Ranks().Select(rank => rank == group.Rank ? leaving[rank] : Empty(leaving[group.Rank], 2, Share(heads, rank).Length * head)).ToArray();
        Exchange(arriving, leaving);
        return scope.Keep(Tensor.Cat(arriving, 2).To(attended.Device));
    }

    private IEnumerable<int> Ranks() => Enumerable.Range(0, group.WorldSize);

    private (long Start, long Length) Share(long count, int rank) => VectorDivision.Share(count, group.WorldSize, rank);

    private long Length(IReadOnlyList<long> sections, int rank) => sections.Sum(section => Share(section, rank).Length);

    private Tensor Share(Tensor x, IReadOnlyList<long> sections, int rank)
    {
        var parts = new List<Tensor>();
        var at = 0L;
        foreach (var section in sections)
        {
            var (start, length) = Share(section, rank);
            parts.Add(x.Narrow(1, at + start, length));
            at += section;
        }

        return parts.Count == 1 ? parts[0] : Tensor.Cat([.. parts], 1);
    }

    // Where the tokens of each section lie in the shares of the processes, in the order of the sequence.
    private IEnumerable<(int Rank, long InShare, long Count)> Places(IReadOnlyList<long> sections)
    {
        var filled = new long[group.WorldSize];
        foreach (var section in sections)
        {
            foreach (var rank in Ranks())
            {
                var count = Share(section, rank).Length;
                yield return (rank, filled[rank], count);
                filled[rank] += count;
            }
        }
    }

    private static Tensor Empty(Tensor like, int dimension, long length)
    {
        var shape = like.Shape;
        shape[dimension] = length;
        return Tensor.Empty(shape, like.Type, like.Device);
    }

    // What stays in this process is not moved.
    private void Exchange(Tensor[] arriving, Tensor[] leaving) => group.Exchange(
        [.. arriving.Select((tensor, rank) => rank == group.Rank ? null : tensor)], [.. leaving.Select((tensor, rank) => rank == group.Rank ? null : tensor)]).Wait();
}
