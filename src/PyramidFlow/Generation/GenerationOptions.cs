using PyramidFlow.Hub;

namespace PyramidFlow.Generation;

/// <summary>What to generate. A value that is left null takes the checkpoint's own default (<see cref="PipelineSettings"/>).</summary>
public sealed record GenerationOptions
{
    /// <summary>What is to be seen; may be empty only with an <see cref="Image"/>, <see cref="Video"/> or <see cref="Latents"/>.</summary>
    public required string Prompt { get; init; }

    /// <summary>Other prompts from later times on, in order.</summary>
    public IReadOnlyList<PromptChange> Schedule { get; init; } = [];

    /// <summary>What guidance steers away from.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Text put after every prompt.</summary>
    public string? PromptSuffix { get; init; }

    /// <summary>Pixels, a multiple of 8 (VAE) x 2 (patch) x 2^(stages - 1).</summary>
    public int? Width { get; init; }

    /// <summary>Pixels, likewise.</summary>
    public int? Height { get; init; }

    /// <summary>
    /// Frames, 1 + a multiple of 8 x frames per unit; 1 is a still image, and an <see cref="Image"/> is counted. After a
    /// given <see cref="Video"/> or <see cref="Latents"/> it counts the new frames only: a multiple of 8 x frames per unit.
    /// </summary>
    public int? Frames { get; init; }

    /// <summary>The same as time, in place of <see cref="Frames"/>; the nearest possible length is taken (<see cref="VideoLength"/>).</summary>
    public double? Seconds { get; init; }

    /// <summary>Steps in each stage for the first unit, lowest resolution first.</summary>
    public IReadOnlyList<int>? Steps { get; init; }

    /// <summary>The same for the later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; init; }

    /// <summary>Guidance scale of the first unit; 0 is off.</summary>
    public double? Guidance { get; init; }

    /// <summary>Guidance scale of the later units; 0 is off.</summary>
    public double? VideoGuidance { get; init; }

    /// <summary>
    /// Linear guidance: unit i uses max(Guidance - alpha * i, minimum) for both scales; null is off. Released defaults: 0.5
    /// and 2.
    /// </summary>
    public (double Alpha, double Minimum)? LinearGuidance { get; init; }

    /// <summary>What may be computed less exactly to save work; nothing unless it is asked for.</summary>
    public Approximations Approximations { get; init; } = Approximations.None;

    /// <summary>Latent frames of a unit after the first; the released models use 1.</summary>
    public int FramesPerUnit { get; init; } = 1;

    /// <summary>Seed of all draws.</summary>
    public ulong Seed { get; init; }

    /// <summary>How many clips to make, one after another; number i is what the request gives alone with seed <see cref="Seed"/> + i.</summary>
    public int Count { get; init; } = 1;

    /// <summary>
    /// Most latent frames that a unit looks back at, so that the time per unit stays flat. Null is off for clips as long as the
    /// checkpoint was trained on and else what fits its training; 0 is off.
    /// </summary>
    public int? HistoryWindow { get; init; }

    /// <summary>First frame to go on from (image to video), already of the request's size; interleaved RGB bytes.</summary>
    public ReadOnlyMemory<byte>? Image { get; init; }

    /// <summary>
    /// Frames to go on from, already of the request's size; interleaved RGB bytes. Where they are not 1 + a multiple of 8, the
    /// last ones that are count.
    /// </summary>
    public ReadOnlyMemory<byte>? Video { get; init; }

    /// <summary>Latents to go on from, of this checkpoint; they say the size too.</summary>
    public LatentClip? Latents { get; init; }

    /// <summary>Whether only the frames after those of <see cref="Video"/> or <see cref="Latents"/> come out, and not these too.</summary>
    public bool NewFramesOnly { get; init; }

    /// <summary>Whether latents of given pictures are drawn from what the VAE gives, as the released system does, and not its mean.</summary>
    public bool SampleImage { get; init; }

    /// <summary>Fills in the checkpoint's defaults and checks every value. No weights are needed.</summary>
    /// <param name="settings">The checkpoint's; its steps say how many stages the pyramid has.</param>
    /// <exception cref="ArgumentException">A value is impossible; says what would be possible.</exception>
    public GenerationSettings Resolve(PipelineSettings settings) => RequestResolver.Resolve(this, settings);
}
