using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>What a clip is sampled from, besides its plan.</summary>
/// <param name="Text">Text of a unit, by its number; all of b rows.</param>
/// <param name="Noise">All draws.</param>
public sealed record ClipSource(Func<int, GuidedText> Text, INoiseSource Noise)
{
    /// <summary>Normalised latents [b, c, t, h, w] that count as the first unit; null samples it.</summary>
    public Tensor? Given { get; init; }

    /// <summary>
    /// The last frame of a latent frame, by its number, as a clip of its own: normalised latents [b, c, 1, h, w]. A history that is
    /// cut begins with it, as a clip does with its first frame. Asked for frames whose latents have been handed out.
    /// </summary>
    public Func<long, Tensor>? Restart { get; init; }

    /// <summary>
    /// Told before each report of progress, with what makes a guess at the clean latents when it is called: [b, c, t, h, w] at
    /// the size of the step's stage, in the caller's scope.
    /// </summary>
    public Action<SamplerStep, Func<Tensor>>? Guess { get; init; }

    /// <summary>Takes sentences for the user.</summary>
    public Action<string>? Warn { get; init; }
}
