namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Searches the weights of a checkpoint for numbers that are not finite.</summary>
public static class WeightScan
{
    // At a time, so that a large tensor takes little memory.
    private const long Elements = 1 << 22;

    /// <summary>The first tensor with a number that is infinite or none.</summary>
    /// <param name="source">The checkpoint; read whole, a tensor at a time.</param>
    /// <param name="cancel">Checked before each tensor.</param>
    /// <returns>File and key; null where all numbers are finite.</returns>
    public static (string File, string Key)? FirstNonFinite(StateSource source, CancellationToken cancel = default)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var key in source.Keys)
        {
            cancel.ThrowIfCancellationRequested();
            if (!source.Describe(key).Type.IsFloatingPoint())
                continue;
            using var scope = new TensorScope();
            var flat = source.Read(key).Reshape(-1);
            for (long start = 0; start < flat.ElementCount; start += Elements)
            {
                using var inner = new TensorScope();
                if (!flat.Narrow(0, start, Math.Min(Elements, flat.ElementCount - start)).AllFinite())
                    return (source.FileOf(key), key);
            }

            source.Drop(key);
        }

        return null;
    }
}
