using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>
/// KV cache: keys and values of text and history in every block, for several timesteps. Under the causal mask they do not depend
/// on the noisy unit, so each denoising step runs the unit's own tokens only. Disposing it frees them.
/// </summary>
public sealed class PrefixCache : IDisposable
{
    private readonly TransformerModulation modulation;

    internal PrefixCache(SequenceLayout layout, TransformerModulation modulation, int timesteps)
    {
        Layout = layout;
        this.modulation = modulation.Release();
        Timesteps = timesteps;
    }

    /// <summary>Number of timesteps.</summary>
    public int Timesteps { get; }

    /// <summary>The layout of the stage, with rows for one timestep.</summary>
    internal SequenceLayout Layout { get; }

    /// <summary>Keys and values of each block, [timesteps * rows, prefix, heads, head], timestep outermost.</summary>
    internal List<(Tensor Keys, Tensor Values)> Blocks { get; } = [];

    /// <inheritdoc/>
    public void Dispose()
    {
        Layout.Dispose();
        modulation.Dispose();
        foreach (var (keys, values) in Blocks)
        {
            keys.Dispose();
            values.Dispose();
        }
    }

    /// <summary>The keys, values and modulation of one timestep, as views in the open scope.</summary>
    internal (List<(Tensor Keys, Tensor Values)> Blocks, TransformerModulation Modulation) At(int timestep)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(timestep);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(timestep, Timesteps);
        var rows = Layout.Rows;
        var first = (long)timestep * rows;
        return ([.. Blocks.Select(b => (b.Keys.Narrow(0, first, rows), b.Values.Narrow(0, first, rows)))],
            modulation.Rows(first, first + rows));
    }
}
