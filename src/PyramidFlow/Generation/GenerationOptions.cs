using System.Text.Json.Serialization;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;

namespace PyramidFlow.Generation;

/// <summary>
/// What can be asked of a generation. A value that is left null takes the checkpoint's own default (<see cref="PipelineSettings"/>) or is
/// off.
/// </summary>
// SettingsTable lists the settings among these with their names on the command line, in batch files, in REST and in the notes of a file: a new setting is a property here, a row there, and the place that uses it.
public record GenerationOptions
{
    /// <summary>What the video shows; empty only with an <see cref="Image"/>, <see cref="Video"/> or <see cref="Latents"/>.</summary>
    public string? Prompt { get; init; }

    /// <summary>The prompt schedule: other prompts from later times on, in order.</summary>
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

    /// <summary>The length as time, in place of <see cref="Frames"/>; the nearest possible length is taken (<see cref="VideoLength"/>).</summary>
    public double? Seconds { get; init; }

    /// <summary>Playback rate of the file, frames per second, 1 to 240.</summary>
    public double? FramesPerSecond { get; init; }

    /// <summary>Denoising steps in each stage for the first unit, lowest resolution first; one number stands for all stages.</summary>
    public IReadOnlyList<int>? Steps { get; init; }

    /// <summary>The same for the later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; init; }

    /// <summary>Guidance scale of the first unit; 0 is off.</summary>
    public double? Guidance { get; init; }

    /// <summary>Guidance scale of the later units; 0 is off.</summary>
    public double? VideoGuidance { get; init; }

    /// <summary>
    /// Linear guidance: unit i uses max(Guidance - alpha * i, minimum), and <see cref="VideoGuidance"/> does not count; null is off.
    /// Released defaults: 0.5 and 2.
    /// </summary>
    public LinearGuidance? LinearGuidance { get; init; }

    /// <summary>Latent frames of a unit after the first, 1 to 1024; the released models use 1, the default.</summary>
    public int? FramesPerUnit { get; init; }

    /// <summary>
    /// Most latent frames of history that a unit attends to, so that the time per unit stays flat; 0 is all. Null is all for clips as long as
    /// the checkpoint was trained on, and for longer ones as many as it was trained on, less the frames of a unit.
    /// </summary>
    public int? HistoryWindow { get; init; }

    /// <summary>Number of neighbouring steps that share keys and values of text and history; null and 1 are exact (<see cref="Approximations"/>).</summary>
    public int? ReusePrefix { get; init; }

    /// <summary>Guidance is computed in every step of this number; null and 1 are exact.</summary>
    public int? GuidanceEvery { get; init; }

    /// <summary>Solver of the flow; null is Euler, as in the released system, or <see cref="FlowSolvers.Uniform"/> for a model that is distilled to few steps.</summary>
    public IFlowSolver? Solver { get; init; }

    /// <summary>Whether the latents of given pictures are drawn from the VAE's posterior, as the released system does; by default they are its mean.</summary>
    public bool? SampleImage { get; init; }

    /// <summary>Whether the frames of the given <see cref="Video"/> or <see cref="Latents"/> are left out of the result.</summary>
    public bool? NewFramesOnly { get; init; }

    /// <summary>
    /// LoRAs of this clip, which are added to the transformer's weights after those of the pipeline (<see cref="PipelineOptions.Loras"/>) and taken off after the clip; null is none. The result is that of
    /// a pipeline that is loaded with all of them. In a request to a service, <see cref="LoraUse.Path"/> is a name of a LoRA there.
    /// </summary>
    public IReadOnlyList<LoraUse>? Loras { get; init; }

    /// <summary>Seed of all draws; null is 0 for a pipeline, and a random one on the command line and in the service.</summary>
    public ulong? Seed { get; init; }

    /// <summary>Number of clips to make, one after another; clip i is what the options give alone with seed <see cref="Seed"/> + i.</summary>
    [JsonIgnore]
    public int Count { get; init; } = 1;

    /// <summary>First frame to continue from (image to video), already of the requested size; interleaved RGB bytes (<see cref="WithImage"/>).</summary>
    [JsonIgnore]
    public ReadOnlyMemory<byte>? Image { get; init; }

    /// <summary>
    /// Frames to continue from, already of the requested size; interleaved RGB bytes (<see cref="WithVideo"/>). Where they are not 1 + a multiple of 8, the
    /// last ones that are count.
    /// </summary>
    [JsonIgnore]
    public ReadOnlyMemory<byte>? Video { get; init; }

    /// <summary>Latents to continue from, of this checkpoint; they give the size too.</summary>
    [JsonIgnore]
    public LatentClip? Latents { get; init; }

    /// <summary>
    /// What the clip begins with, where its pixels are not read yet; they join the plan later (<see cref="GenerationPlan.WithPixels"/>). Null where
    /// <see cref="Image"/>, <see cref="Video"/> or <see cref="Latents"/> have it, or nothing is given.
    /// </summary>
    [JsonIgnore]
    public ConditioningInput? Conditioning { get; init; }

    /// <summary>The savings that were asked for; exact where none was.</summary>
    [JsonIgnore]
    public Approximations Approximations => Approximations.Of(ReusePrefix, GuidanceEvery, Solver);

    /// <summary>The same with a picture as the first frame, whose size the video has.</summary>
    /// <param name="image">The picture, such as <see cref="ImageReader"/> reads it from a file or a stream.</param>
    public GenerationOptions WithImage(RgbImage image) => this with { Image = image.Pixels, Width = image.Width, Height = image.Height };

    /// <summary>The same with frames to continue from, whose size the video has.</summary>
    /// <param name="frames">The frames, such as <see cref="VideoTail"/> reads them from a file.</param>
    public GenerationOptions WithVideo(VideoFrames frames) => this with { Video = frames.Rgb, Width = frames.Width, Height = frames.Height };

    /// <summary>Fills in the checkpoint's defaults and checks every value. No weights are needed.</summary>
    /// <param name="settings">The checkpoint's; its steps say how many stages the pyramid has.</param>
    /// <exception cref="RequestException">A value is impossible; says what would be possible.</exception>
    public GenerationSettings Resolve(PipelineSettings settings) => RequestResolver.Resolve(this, settings);
}

/// <summary>What a clip can begin with.</summary>
public enum ConditioningKind
{
    /// <summary>A picture, which is the first frame.</summary>
    Image,

    /// <summary>Frames that the clip continues.</summary>
    Video,

    /// <summary>Latents that the clip continues.</summary>
    Latents,
}

/// <summary>What a clip begins with, as far as a plan needs it: its pixels have the size of the clip and may be read later.</summary>
/// <param name="Kind">Picture, video or latents.</param>
/// <param name="Frames">Number of frames, at least 1; those that latents decode to.</param>
public sealed record ConditioningInput(ConditioningKind Kind, int Frames)
{
    /// <summary>A picture.</summary>
    public static ConditioningInput Image { get; } = new(ConditioningKind.Image, 1);

    /// <summary>A video.</summary>
    /// <param name="frames">Its length in frames of the clip's rate, at least 1 (<see cref="ConditioningVideo.CountAsync"/>).</param>
    public static ConditioningInput Video(int frames) => new(ConditioningKind.Video, frames);

    /// <summary>Whether it is continued, so that lengths count the new frames.</summary>
    public bool IsContinued => Kind != ConditioningKind.Image;
}

/// <summary>Guidance that falls from unit to unit.</summary>
/// <param name="Alpha">Fall of the scale for each unit, 0 or more.</param>
/// <param name="Minimum">Least scale, 0 or more.</param>
public readonly record struct LinearGuidance(double Alpha, double Minimum);

/// <summary>Pixels of a frame.</summary>
/// <param name="Width">Pixels.</param>
/// <param name="Height">Pixels.</param>
internal readonly record struct FrameSize(int Width, int Height)
{
    /// <summary>Reads such as 640x384.</summary>
    /// <exception cref="FormatException">It is of another form.</exception>
    public static FrameSize Parse(string text) => text.ToLowerInvariant().Split('x') is [var width, var height]
        ? new FrameSize(SettingsTable.Whole(width, 1, " for the width"), SettingsTable.Whole(height, 1, " for the height"))
        : throw new FormatException("use width x height in pixels, such as 640x384");

    /// <inheritdoc/>
    public override string ToString() => FormattableString.Invariant($"{Width}x{Height}");
}
