namespace PyramidFlow.Pipelines;

/// <summary>A request with every value filled in and checked; from <see cref="GenerationRequest.Resolve"/>.</summary>
/// <param name="Prompt">What is to be seen, with its suffix.</param>
/// <param name="NegativePrompt">What guidance steers away from; may be empty.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Frames">Frames.</param>
/// <param name="Seed">Seed of all draws.</param>
/// <param name="Sampling">Shape and steps of the latents.</param>
/// <param name="Image">First frame, interleaved RGB bytes; null is made from the prompt.</param>
/// <param name="SampleImage">Whether the image's latents are drawn and not their mean.</param>
public sealed record GenerationSettings(
    string Prompt,
    string NegativePrompt,
    int Width,
    int Height,
    int Frames,
    ulong Seed,
    SamplingPlan Sampling,
    ReadOnlyMemory<byte>? Image,
    bool SampleImage)
{
    /// <summary>Whether any unit to be sampled is guided, so that the negative prompt counts.</summary>
    public bool IsGuided => Sampling.Guidance.Skip(Image is null ? 0 : 1).Any(scale => scale is not null);
}
