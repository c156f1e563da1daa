using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// One run through the blocks over tokens <paramref name="first"/> onward of a layout. What a block sees beyond its own
/// tokens, keys and values computed before, comes from here; so the joint, the prefix and the unit pass are one code.
/// </summary>
/// <param name="layout">The whole sequence.</param>
/// <param name="first">The first token that runs.</param>
/// <param name="before">Keys and values of the tokens before it, block by block; null when it starts at 0.</param>
/// <param name="record">Takes the keys and values of this run; null when nobody needs them.</param>
internal sealed class BlockPass(SequenceLayout layout, long first,
    IReadOnlyList<(Tensor Keys, Tensor Values)>? before = null, List<(Tensor Keys, Tensor Values)>? record = null)
{
    private int block;

    /// <summary>Whether blocks can run in it a second time and give the same: nothing is read from or kept for other passes.</summary>
    internal bool CanRepeat => before is null && record is null;

    /// <summary>Attention of one block; the blocks come here in order.</summary>
    /// <param name="q">Queries of the last tokens of this run, [b, nq, heads, head]; null when only keys are wanted.</param>
    /// <param name="k">Keys of all its tokens, not yet turned, [b, n, heads, head].</param>
    /// <param name="v">Values, likewise.</param>
    /// <returns>[b, nq, d]; null without queries.</returns>
    internal Tensor? Attend(Tensor? q, Tensor k, Tensor v)
    {
        using var scope = new TensorScope();
        k = Turn(k, first);
        record?.Add((TensorScope.Release(k), TensorScope.Release(v)));
        Tensor[] keys = before is null ? [k] : [before[block].Keys, k];
        Tensor[] values = before is null ? [v] : [before[block].Values, v];
        block++;
        if (q is null)
            return null;
        var start = keys.Sum(part => part.Size(1)) - q.Size(1);
        return scope.Keep(BlockCausalAttention.Forward(Turn(q, start), keys, values, layout, start));
    }

    private Tensor Turn(Tensor x, long from) => layout.Rotary?.Apply(x, from) ?? x;
}
