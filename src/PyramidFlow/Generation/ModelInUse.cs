using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>
/// The transformer a clip is sampled with: the loaded one until its numbers overflow, from then on the same weights in a
/// wider type. Each clip begins anew, so that a clip does not depend on those before it.
/// </summary>
/// <param name="model">The loaded one.</param>
/// <param name="wider">Gives the one with the wider type; null when the loaded one cannot overflow.</param>
/// <param name="warn">Takes sentences for the user.</param>
internal sealed class ModelInUse(PyramidTransformer model, Func<PyramidTransformer>? wider, Action<string>? warn)
{
    private bool widened;

    /// <summary>The transformer to use.</summary>
    internal PyramidTransformer Current { get; private set; } = model;

    /// <summary>Whether results must be looked at, as there is another model to make them with.</summary>
    internal bool MayOverflow => wider is not null;

    /// <summary>How much it does at a time.</summary>
    internal required SamplerOptions Options { get; set; }

    /// <summary>Does less at a time from now on, after memory ran out.</summary>
    /// <param name="cause">What is thrown when it does as little as it can already.</param>
    internal void Shrink(TorchMemoryException cause)
    {
        const int leastBlock = 16;
        var attention = Current.Attention;
        if (Options.PrefixBytes == 0 && attention.QueryBlock <= leastBlock)
            throw new TorchMemoryException($"{cause.Message}, with as little at a time as can be: use another way to offload, a memory budget, or smaller frames", cause);
        TorchRuntime.TrimMemory();
        Options = Options with { PrefixBytes = Options.PrefixBytes >> 3 };
        var block = Math.Max(leastBlock, attention.QueryBlock / 2);
        Current.Attention = attention with { QueryBlock = block, WholeUpTo = Math.Min(attention.WholeUpTo, block) };
        warn?.Invoke("memory ran out: that part was done again with less at a time, and so is the rest of the clip");
    }

    /// <summary>Goes over to the wider type.</summary>
    /// <returns>False where that was done before.</returns>
    internal bool Widen()
    {
        if (widened)
            return false;
        var narrow = Current.WeightType;
        Current = wider!();
        widened = true;
        warn?.Invoke($"numbers of the transformer went beyond {narrow}: that part was done again in {Current.WeightType}, and so is the rest of the clip; load it as {Current.WeightType} to save the time");
        return true;
    }
}
