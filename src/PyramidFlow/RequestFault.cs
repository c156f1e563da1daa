using PyramidFlow.Torch;
using static System.FormattableString;

namespace PyramidFlow;

/// <summary>
/// A model cannot make what was asked for, or a run does not fit the machine. <see cref="PyramidFlowException.Parameters"/> holds the
/// impossible value and what is possible instead.
/// </summary>
public sealed class RequestException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    /// <param name="code">Stable name of the cause, such as <c>size_not_multiple</c>.</param>
    /// <param name="setting">The <see cref="Generation.Setting.Name"/> of the setting at fault; null where it is none, or several together.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="parameters">The values that the sentence is about.</param>
    internal RequestException(string code, string? setting, string message, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, null, parameters) => Setting = setting;

    /// <summary>
    /// The setting at fault, by the name that batch files and notes use, such as <c>video_steps</c>; null where it is none, or several together.
    /// </summary>
    public string? Setting { get; }
}

/// <summary>All errors about requests, and about the options a run is planned with: the only place of their codes and sentences.</summary>
internal static class RequestFault
{
    /// <summary>Code of a run that needs more memory than the machine has.</summary>
    public const string MachineTooSmallCode = "machine_too_small";

    // Prompts.

    public static RequestException EmptyPrompt() => new("prompt_empty", "prompt", "the prompt is empty: say what is to be seen, or give an image to go on from");

    public static RequestException EmptyPrompt(double second) =>
        new("prompt_empty", "prompts", Invariant($"the prompt from second {second} on is empty: say what is to be seen"), ("second", second));

    public static RequestException BrokenText(string setting) =>
        new("text_not_whole", setting, "a prompt holds half of a character (half of a surrogate pair) or a NUL character: write whole characters");

    public static RequestException PromptsOutOfOrder(double second, double before) =>
        new("prompts_out_of_order", "prompts", Invariant($"a prompt from second {second} on comes after one from second {before} on: later prompts need later times"),
            ("second", second), ("before", before));

    public static RequestException PromptsTooClose(double second, double before, double unitSeconds) =>
        new("prompts_too_close", "prompts",
            Invariant($"the prompts from second {before} and from second {second} on fall into one unit of {unitSeconds:0.##} seconds: put them further apart"),
            ("second", second), ("before", before), ("unit_seconds", unitSeconds));

    public static RequestException PromptTooLate(double second, double seconds) =>
        new("prompt_too_late", "prompts", Invariant($"a prompt from second {second} on comes too late for {seconds:0.##} seconds of video: make it longer, or let the prompt begin earlier"),
            ("second", second), ("seconds", seconds));

    // Sizes.

    public static RequestException TooManyPixels(int width, int height, int most, int usualWidth, int usualHeight) =>
        new("size_too_large", "size", Invariant($"{width}x{height} is more than {most} pixels: use at most 4096x4096, or such as {usualWidth}x{usualHeight}"),
            ("size", Invariant($"{width}x{height}")), ("most_pixels", most));

    public static RequestException SizeNotPositive(string side, int value, int multiple) =>
        new("size_not_positive", "size", Invariant($"{side} {value} is not positive: use a multiple of {multiple}, such as {multiple}"), ("side", side), ("value", value), ("multiple", multiple));

    public static RequestException SizeNotMultiple(string side, int value, int multiple, long below, long above) =>
        new("size_not_multiple", "size", Invariant($"{side} {value} is not a multiple of {multiple}: use {Either(below, above)}"),
            ("side", side), ("value", value), ("multiple", multiple), ("above", above));

    public static RequestException SizeBeyondPositions(string side, int value, long most) =>
        new("size_beyond_positions", "size", Invariant($"{side} {value} is more than this checkpoint has positions for: use at most {most}"), ("side", side), ("value", value), ("most", most));

    // Lengths.

    public static RequestException LoraWeight(double weight) =>
        new("lora_weight_not_finite", "lora", Invariant($"a LoRA cannot have the weight {weight}: use a number such as 0.8"), ("weight", weight));

    public static RequestException FrameRate(double rate) =>
        new("fps_out_of_range", "fps", Invariant($"{rate} frames per second cannot be played: use 1 to 240"), ("value", rate), ("least", 1), ("most", 240));

    public static RequestException FramesPerUnit(int frames) =>
        new("frames_per_unit_out_of_range", "frames_per_unit", Invariant($"{frames} latent frames per unit are not 1 to 1024: use 1"), ("value", frames), ("least", 1), ("most", 1024));

    public static RequestException TwoLengths() => new("two_lengths", "seconds", "frames and seconds both say how long the video is: use one of them");

    public static RequestException NoFrames(string setting, int frames, int video) =>
        new("no_frames", setting, Invariant($"{frames} frames are no video: use 1 for a picture, or {video} and more"), ("frames", frames), ("video", video));

    public static RequestException FramesNotWhole(string setting, int frames, int multiple, long below) =>
        new("frames_not_whole", setting, Invariant($"{frames} frames are not 1 more than a multiple of {multiple}: use {below} or {below + multiple}"),
            ("frames", frames), ("multiple", multiple), ("below", below), ("above", below + multiple));

    public static RequestException PictureOnly(string setting, int video) =>
        new("no_new_frames", setting, Invariant($"the image is the first frame, so 1 frame leaves nothing to make: use {video} frames or more"), ("frames", 1), ("video", video));

    public static RequestException NoNewFrames(string setting, int frames, int multiple) =>
        new("no_new_frames", setting, Invariant($"{frames} new frames leave nothing to make: use {multiple} and more"), ("frames", frames), ("multiple", multiple));

    public static RequestException NewFramesNotWhole(string setting, int frames, int multiple, long below) =>
        new("new_frames_not_whole", setting, Invariant($"{frames} new frames are not a multiple of {multiple}: use {Either(below, below + multiple)}"),
            ("frames", frames), ("multiple", multiple), ("above", below + multiple));

    public static RequestException TooManyFrames(string setting, int frames, int most) =>
        new("too_many_frames", setting, Invariant($"{frames} frames are more than any video has: use at most {most}"), ("frames", frames), ("most", most));

    public static RequestException NoLength(double seconds) =>
        new("seconds_negative", "seconds", Invariant($"{seconds} seconds are no length: use 0 for a picture, or such as 5"), ("seconds", seconds));

    public static RequestException TooManySeconds(double seconds, double most) =>
        new("too_many_seconds", "seconds", Invariant($"{seconds} seconds are longer than any video: use at most {most}"), ("seconds", seconds), ("most", most));

    public static RequestException HistoryNegative(int latentFrames, int example) =>
        new("history_negative", "history", Invariant($"a history window of {latentFrames} latent frames is negative: use 0 to turn it off, or such as {example}"),
            ("value", latentFrames), ("example", example));

    // Sampling.

    public static RequestException StepsPerStage(string setting, string what, int numbers, int stages) =>
        new("steps_per_stage", setting,
            Invariant($"{what} has {numbers} number{(numbers == 1 ? "" : "s")} for {stages} stage{(stages == 1 ? "" : "s")}: use such as {string.Join(',', Enumerable.Repeat(20, stages))}"),
            ("numbers", numbers), ("stages", stages));

    public static RequestException StepsOutOfRange(string setting, string what, int steps) =>
        new("steps_out_of_range", setting, Invariant($"{what} has {steps}: every stage needs 1 to 1000, such as 20"), ("value", steps), ("least", 1), ("most", 1000));

    public static RequestException GuidanceOutOfRange(string setting, string what, double value) =>
        new("guidance_out_of_range", setting, Invariant($"{what} {value} is not 0 or more, or is too large: use 0 to turn it off, or such as 7"), ("value", value), ("least", 0));

    /// <summary>Guidance of a model whose velocity contains it.</summary>
    /// <param name="setting">The setting that asks for it.</param>
    /// <param name="value">What was asked for.</param>
    /// <param name="first">Scale of the first unit that the model contains.</param>
    /// <param name="later">Scale of the later units.</param>
    public static RequestException GuidanceContained(string setting, object value, double? first, double? later) =>
        new("guidance_contained", setting,
            Invariant($"{setting} {value} cannot be: this checkpoint was distilled with guidance {(first == later ? Invariant($"{first}") : Invariant($"{first} and {later} of later units"))} in its weights, leave guidance out"),
            ("value", value), ("guidance", first), ("video_guidance", later));

    public static RequestException PrefixReuse(int steps, int most) =>
        new("reuse_prefix_out_of_range", "reuse_prefix", Invariant($"a prefix cannot be reused for {steps} steps: use 1 to {most}, such as 2, or 1 for exact results"),
            ("value", steps), ("least", 1), ("most", most));

    public static RequestException GuidanceEvery(int steps, int most) =>
        new("guidance_every_out_of_range", "guidance_every", Invariant($"guidance cannot come every {steps} steps: use 1 to {most}, such as 2, or 1 for exact results"),
            ("value", steps), ("least", 1), ("most", most));

    // What a clip begins with.

    public static RequestException TwoBeginnings() => new("two_beginnings", null, "an image, a video and latents to go on from exclude each other: give one of them");

    public static RequestException ImageBytes(int bytes, int width, int height, long expected) =>
        new("image_bytes", null, Invariant($"the image has {bytes} bytes where {width}x{height} RGB pixels are {expected}: bring it to that size"), ("bytes", bytes), ("expected", expected));

    public static RequestException VideoBytes(int bytes, int width, int height, long frame) =>
        new("video_bytes", null, Invariant($"the video has {bytes} bytes, which are not whole frames of {frame} for {width}x{height} RGB pixels: bring its frames to that size"),
            ("bytes", bytes), ("frame", frame));

    public static RequestException CannotBeReadLater(int frames, string kind) =>
        new("conditioning_impossible", null, Invariant($"{frames} frames of {kind} cannot be read later: plan one picture, or a video of 1 frame or more"), ("frames", frames), ("kind", kind));

    public static RequestException NotUnitByUnit() =>
        new("needs_units", null, "this checkpoint makes all frames of a clip together: it takes one prompt, and no image, video or latents to go on from");

    public static RequestException NothingToLeaveOut() =>
        new("new_only_without_video", "new_only", "only new frames are asked for, but there is no video to go on from: give one, or leave this out");

    public static RequestException LatentsOfOtherSize(int latentsWidth, int latentsHeight, int width, int height) =>
        new("latents_of_other_size", "size", Invariant($"the latents are those of {latentsWidth}x{latentsHeight} pixels, not {width}x{height}: leave the size out"),
            ("latents", Invariant($"{latentsWidth}x{latentsHeight}")), ("size", Invariant($"{width}x{height}")));

    public static RequestException LatentsOfOtherModel() => new("latents_of_other_model", null, "the latents are those of another model: use the one they were made with");

    public static RequestException LatentsOfOtherModel(long channels, long expected) =>
        new("latents_of_other_model", null, Invariant($"the latents have {channels} channels where this model's have {expected}: use the model they were made with"),
            ("channels", channels), ("expected", expected));

    public static RequestException LatentsOverflow(ElementType type) =>
        new("latents_overflow", null, $"the latents to go on from have numbers too large for {type}: load the model in another type", ("type", type));

    // Runs.

    public static RequestException NothingToMake() => new("no_request", null, "there is nothing to make: give at least one request");

    public static RequestException NoClips(int count) => new("no_clips", null, Invariant($"{count} clips are none: use 1 or more"), ("count", count));

    public static RequestException PlanOfOtherOptions() =>
        new("plan_of_other_options", null, "the plan is one for another variant, run, device, number type, LoRA or group of processes: plan with the options that the pipeline was loaded with");

    public static RequestException ParallelOfOtherSize(string ways, int needed, int processes) =>
        new("parallel_of_other_size", null, Invariant($"--parallel {ways} is for {needed} processes and there are {processes}: use ways whose product is {processes}, or start {needed} processes"),
            ("ways", ways), ("needed", needed), ("processes", processes));

    public static RequestException NoGuidanceToDivide(string ways) =>
        new("no_guidance_to_divide", null, $"--parallel {ways} divides the two rows of guidance, and without guidance there is one: use timesteps", ("ways", ways));

    public static RequestException TooFewHeads(string ways, long heads) =>
        new("too_few_heads", null, Invariant($"--parallel {ways} divides the heads into more parts than the {heads} that the model has: use heads={heads} at most"), ("ways", ways), ("heads", heads));

    public static RequestException PixelsMissing() => new("pixels_missing", null, "the plan begins with a picture or video whose pixels are missing: add them (WithPixels)");

    public static RequestException PixelsNotPlanned() => new("pixels_not_planned", null, "the clip begins with no picture or video: plan it with one before its pixels are added");

    public static RequestException PixelBytes(int bytes, int width, int height, int frames, long expected) =>
        new("pixel_bytes", null, Invariant($"there are {bytes} bytes of pixels where {width}x{height} with {frames} {(frames == 1 ? "frame" : "frames")} has {expected}: read what was planned"),
            ("bytes", bytes), ("expected", expected));

    public static RequestException NoFileNamed() => new("file_not_named", null, "the plan begins with a picture or video, and no file is named: name it");

    // Options of a pipeline.

    public static RequestException Float16OnCpu() => new("float16_on_cpu", null, "float16 is for GPUs, CPUs have no arithmetic for it: use bfloat16 (bf16) or float32 (fp32)");

    public static RequestException EncodeWindow(int frames, int multiple) =>
        new("encode_window", null, Invariant($"the VAE cannot encode {frames} frames at a time: use a multiple of {multiple}, such as 32"), ("frames", frames), ("multiple", multiple));

    public static RequestException DecodeWindow(int latentFrames) =>
        new("decode_window", null, Invariant($"the VAE cannot decode {latentFrames} latent frames at a time: use 1 or more, such as 4"), ("latent_frames", latentFrames));

    public static RequestException TileOverlap(double overlap) =>
        new("tile_overlap_out_of_range", null, Invariant($"a tile overlap of {overlap} is not above 0 and at most 0.5: use 0.25"), ("overlap", overlap));

    public static RequestException TileSize(int size, int multiple) =>
        new("tile_size", null, Invariant($"tiles of {size} pixels are not a multiple of {multiple} and at least {2 * multiple}: use 256"), ("size", size), ("multiple", multiple));

    public static RequestException TilesCannotGoOneByOne() => new("tiles_not_weighted", null, "only weighted tiles can be decoded one by one: give their size, such as 256");

    // Memory. Amounts in sentences are gigabytes of 10^9 bytes.

    public static RequestException NoBudget(long bytes) => new("no_memory_budget", null, Invariant($"a memory budget of {bytes} bytes is none: use such as 8 GB"), ("bytes", bytes));

    public static RequestException MachineTooSmall(string clip, long needed, string place, long total) =>
        new(MachineTooSmallCode, null,
            Invariant($"{clip} needs {needed / 1e9:0.0} GB and {place} has {total / 1e9:0.0} GB: give a memory budget (--max-memory), decode in tiles, or make smaller frames"),
            ("needed_bytes", needed), ("place", place), ("total_bytes", total));

    public static RequestException BudgetBelowProgram(string clip, long needed, long program, long budget) =>
        new("budget_too_small", null,
            Invariant($"{clip} needs at least {needed / 1e9:0.0} GB, the program alone {program / 1e9:0.0} GB, and may take {budget / 1e9:0.0} GB: allow more"),
            ("needed_bytes", needed), ("program_bytes", program), ("budget_bytes", budget));

    public static RequestException BudgetTooSmall(string clip, long needed, long budget, IReadOnlyList<MemoryRemedy> remedies) =>
        new("budget_too_small", null,
            Invariant($"{clip} needs at least {needed / 1e9:0.0} GB and may take {budget / 1e9:0.0} GB: {string.Join(", or ", remedies.Select(remedy => remedy.Advice).Prepend("allow more"))}"),
            ("needed_bytes", needed), ("budget_bytes", budget), ("remedies", string.Join(' ', remedies.Select(remedy => remedy.Name))));

    private static string Either(long below, long above) => below > 0 ? Invariant($"{below} or {above}") : Invariant($"{above}");
}

/// <summary>A change that lets a run take less memory.</summary>
/// <param name="Name">Stable name for programs.</param>
/// <param name="Advice">The clause of the sentence.</param>
internal sealed record MemoryRemedy(string Name, string Advice);
