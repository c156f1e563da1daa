namespace PyramidFlow.Generation;

/// <summary>A request with every value filled in and checked; from <see cref="GenerationOptions.Resolve"/>.</summary>
/// <param name="Prompts">What is to be seen, with suffixes: ascending units, the first from the first unit that is made.</param>
/// <param name="NegativePrompt">What guidance steers away from; may be empty.</param>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
/// <param name="Frames">Frames that come out: given ones among them unless only new ones are wanted.</param>
/// <param name="Seed">Seed of all draws.</param>
/// <param name="Sampling">Shape and steps of the latents.</param>
public sealed record GenerationSettings(
    IReadOnlyList<UnitPrompt> Prompts,
    string NegativePrompt,
    int Width,
    int Height,
    int Frames,
    ulong Seed,
    SamplingPlan Sampling)
{
    /// <summary>The prompt the clip begins with, with its suffix.</summary>
    public string Prompt => Prompts[0].Prompt;

    /// <summary>The options with every default filled in; <see cref="GenerationOptions.Frames"/> counts the frames to be made.</summary>
    public GenerationOptions Options => Sampling.Options;

    /// <summary>First frame, interleaved RGB bytes; null is made from the prompt.</summary>
    public ReadOnlyMemory<byte>? Image { get; init; }

    /// <summary>Frames to go on from, interleaved RGB bytes.</summary>
    public ReadOnlyMemory<byte>? Video { get; init; }

    /// <summary>How many of the last frames of <see cref="Video"/> later frames are made from; 1 + a multiple of 8.</summary>
    public int HistoryFrames { get; init; }

    /// <summary>Latents to go on from.</summary>
    public LatentClip? Latents { get; init; }

    /// <summary>Whether only the frames after given ones come out.</summary>
    public bool NewFramesOnly { get; init; }

    /// <summary>Whether latents of given pictures are drawn and not their mean.</summary>
    public bool SampleImage { get; init; }

    /// <summary>Sentences for the user that follow from the request alone, such as that the model was trained on other sizes.</summary>
    public IReadOnlyList<string> Warnings { get; init; } = [];

    /// <summary>Whether the first unit is given, as picture, frames or latents, and not made.</summary>
    public bool IsGiven => Image is not null || GoesOn;

    /// <summary>Whether frames or latents are gone on from, so that lengths are those of what is added.</summary>
    public bool GoesOn => Video is not null || Latents is not null;

    /// <summary>Whether any unit to be sampled is guided, so that the negative prompt counts.</summary>
    public bool IsGuided => Sampling.Guidance.Skip(IsGiven ? 1 : 0).Any(scale => scale is not null);

    /// <summary>The prompt of a unit.</summary>
    /// <param name="unit">Number of the unit, from 0.</param>
    public string PromptOf(int unit) => (Prompts.LastOrDefault(prompt => prompt.FromUnit <= unit) ?? Prompts[0]).Prompt;
}
