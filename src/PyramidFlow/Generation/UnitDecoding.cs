using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>When the units of a clip are decoded.</summary>
/// <param name="output">Decodes them and hands out their frames; nobody else has it decode meanwhile.</param>
/// <param name="meter">Told of each one, on the sampling thread.</param>
/// <param name="cancel">Checked before each piece of a unit.</param>
internal abstract class UnitDecoding(ClipOutput output, ProgressMeter meter, CancellationToken cancel) : IDisposable
{
    /// <summary>Is cancelled when the clip will not be finished: by the caller, or because decoding has failed.</summary>
    internal virtual CancellationToken Stopped => cancel;

    private protected ClipOutput Output => output;

    private protected ProgressMeter Meter => meter;

    /// <summary>Takes a unit as soon as it is sampled.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w]; they stay the caller's.</param>
    internal abstract void Add(int unit, Tensor latents);

    /// <summary>All units are there; returns when all are decoded.</summary>
    internal virtual void Complete()
    {
    }

    /// <summary>Throws what decoding has failed with where it did so unseen.</summary>
    internal virtual void ThrowIfFailed()
    {
    }

    /// <inheritdoc/>
    public virtual void Dispose()
    {
    }
}
