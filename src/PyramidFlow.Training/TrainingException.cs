using PyramidFlow.Torch;
using static System.FormattableString;

namespace PyramidFlow.Training;

/// <summary>
/// A training cannot begin or go on: its configuration, its data or its run is at fault. <see cref="PyramidFlowException.Parameters"/> names the
/// <c>file</c>, and the <c>line</c> or the <c>key</c> where one is at fault; the message says how to fix it.
/// </summary>
public sealed class TrainingException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    /// <param name="code">Stable name of the cause, such as <c>config_value_invalid</c>.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about.</param>
    internal TrainingException(string code, string message, Exception? inner = null, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>All errors about training and its data: the only place of their codes and sentences. This part has configurations and runs.</summary>
/// <remarks>The sprites world sees the class as a friend. It names files and keys, and uses none of the types that throw.</remarks>
internal static partial class TrainingFault
{
    /// <summary>Code of a value of a configuration that is impossible whatever the other ones are.</summary>
    public const string ValueInvalidCode = "config_value_invalid";

    /// <summary>Code of a loss or gradient that is not a number.</summary>
    public const string LossNotFiniteCode = "loss_not_finite";

    /// <summary>Code of the same because a weight is none.</summary>
    public const string WeightNotFiniteCode = "weight_not_finite";

    /// <summary>Code of a training that does not fit into the memory.</summary>
    public const string MachineTooSmallCode = "training_too_large";

    /// <summary>Reason of a value that is neither a text nor a list.</summary>
    public const string NoTextNoList = "use a text, or a list of texts";

    /// <summary>Reason of a list with something other than texts.</summary>
    public const string NoListOfTexts = "use a list of texts";

    /// <summary>Reason of an unknown name.</summary>
    public static string OneOf(IEnumerable<string> names) => $"it is one of {string.Join(", ", names.Select(name => $"\"{name}\""))}";

    // Files of configurations.

    public static TrainingException ConfigMissing(string file, Exception inner) =>
        new("config_missing", $"{file} does not exist: the configurations that come with the program are in configs/", inner, ("file", file));

    /// <summary>The error for a file that is not JSON, or has a value of the wrong type.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="line">Line of the fault; 0 where it is unknown.</param>
    /// <param name="key">The key at fault; null where it is none.</param>
    /// <param name="reason">What is wrong.</param>
    /// <param name="inner">Error of the reader.</param>
    public static TrainingException ConfigMalformed(string file, long line, string? key, string reason, Exception inner) =>
        new("config_malformed", Invariant($"{file}{(line > 0 ? Invariant($", line {line}") : "")}: {reason}"), inner,
            ("file", file), ("line", line > 0 ? line : null), ("key", key is { Length: > 0 } ? key : null), ("reason", reason));

    /// <summary>The error for an unknown key.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="line">Its line; null where it is unknown.</param>
    /// <param name="key">The key.</param>
    /// <param name="section">The object that it stands in; empty at the top.</param>
    /// <param name="nearest">The known key that is most like it, or null.</param>
    public static TrainingException UnknownKey(string file, long? line, string key, string section, string? nearest) =>
        new("config_key_unknown", Invariant($"{file}{(line is { } number ? Invariant($", line {number}") : "")}: unknown key {key}")
            + (section.Length > 0 ? $" in {section}" : "") + (nearest is null ? "" : $", the nearest one there is {nearest}"), null,
            ("file", file), ("line", line), ("key", key), ("section", section), ("nearest", nearest));

    // Paths, models and devices that a configuration names.

    public static TrainingException PathEmpty(string file, string key) =>
        new("path_empty", $"{file}: {key} is empty: name a file or folder", null, ("file", file), ("key", key));

    public static TrainingException PathInWorkingFolder(string file, string key, string value, string written) =>
        new("path_in_working_folder", $"{file}: {key} {value} is in the working folder, but paths are relative to the folder of the configuration: write {written}", null,
            ("file", file), ("key", key), ("value", value), ("written", written));

    public static TrainingException UnknownModel(string file, string key, string value, IEnumerable<string> installed)
    {
        var known = string.Join(", ", installed);
        return new("model_unknown",
            $"{file}: {key} {value} is neither a folder, relative to the configuration, nor an installed model ({(known.Length > 0 ? known : "there is none")}): "
                + "name one of them, or get a released one with 'models download'", null,
            ("file", file), ("key", key), ("value", value), ("known", known));
    }

    /// <summary>The error for a name that is no device.</summary>
    /// <param name="name">The name.</param>
    /// <param name="inner">Error of the parser, whose message names the devices.</param>
    public static TrainingException UnknownDevice(string name, Exception inner) => new("device_unknown", inner.Message, inner, ("device", name));

    public static TrainingException NoGpu(string device) =>
        new("no_gpu", $"device {device}: this libtorch has no GPU: use cpu (see doctor)", null, ("device", device));

    public static TrainingException UnknownVariant(string file, string model, string variant, IEnumerable<string> variants) =>
        new("variant_unknown", $"{file}: {model} has no variant {variant}: use {string.Join(", ", variants)}", null, ("file", file), ("model", model), ("variant", variant));

    /// <summary>The error for a training that does not fit into the memory.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="phase">The phase that takes the most.</param>
    /// <param name="needed">Bytes of it.</param>
    /// <param name="place">Where the memory is.</param>
    /// <param name="total">Bytes that there are.</param>
    /// <param name="remedies">What would fit, with its bytes.</param>
    /// <param name="together">Whether only all remedies together would fit.</param>
    public static TrainingException MachineTooSmall(string file, string phase, long needed, string place, long total, IReadOnlyList<(string Name, string Advice, long Bytes)> remedies, bool together) =>
        new(MachineTooSmallCode, Invariant($"{file}: {phase} needs {needed / 1e9:0.0} GB and {place} has {total / 1e9:0.0} GB: ")
            + (remedies.Count == 0 ? "no setting makes it fit: take a smaller model, smaller or shorter clips, or a larger machine"
                : together ? Invariant($"{string.Join(" and ", remedies.Select(remedy => remedy.Advice))}, which needs {remedies[^1].Bytes / 1e9:0.0} GB")
                : string.Join(", or ", remedies.Select(remedy => Invariant($"{remedy.Advice} ({remedy.Bytes / 1e9:0.0} GB)")))), null,
            ("file", file), ("phase", phase), ("needed_bytes", needed), ("total_bytes", total), ("remedies", string.Join(' ', remedies.Select(remedy => remedy.Name))), ("together", together));

    // Values of a configuration. Where the file is null, its checker does not know it.

    public static TrainingException TooSmall(string? file, string key, object value, int least) =>
        Value(file, key, value, Invariant($"is less than {least}{Instead(key)}"), ("least", least));

    public static TrainingException NotAbove(string? file, string key, object value, int limit) =>
        Value(file, key, value, Invariant($"is not above {limit}{Instead(key)}"), ("limit", limit));

    /// <summary>Two keys give the number of micro-batches.</summary>
    public static TrainingException BatchesCountedTwice(string? file) =>
        new("batches_counted_twice", $"{file}: batches_per_step counts the micro-batches of a step already: leave accumulation out", null, ("file", file));

    /// <summary>The micro-batches of a step cannot be shared among the processes.</summary>
    public static TrainingException BatchesNotOfProcesses(int batches, int processes) =>
        new("batches_not_of_processes", Invariant($"batches_per_step is {batches}, which {processes} processes cannot share: start a number of processes that divides it, or set it to {(batches + processes - 1) / processes * processes}"), null,
            ("batches_per_step", batches), ("processes", processes));

    public static TrainingException NoShare(string? file, string key, double value) => Value(file, key, value, "is not within 0 to 1", ("most", 1));

    public static TrainingException NotBelowOne(string? file, string key, double value) => Value(file, key, value, "is not within 0 to below 1", ("below", 1));

    public static TrainingException NotMultiple(string file, string key, int value, int multiple) =>
        Value(file, key, value, Invariant($"is not a multiple of {multiple}"), ("multiple", multiple));

    public static TrainingException BatchNotDealt(string file, int batch, int workers, IEnumerable<int> ratios, int multiple) =>
        new("batch_not_dealt", Invariant($"{file}: batch {batch} cannot be dealt to {workers} workers and sample_ratios {Shown(ratios)}: use a multiple of {multiple}"), null,
            ("file", file), ("batch", batch), ("workers", workers), ("sample_ratios", Shown(ratios)), ("multiple", multiple));

    public static TrainingException BatchNotShared(string file, int batch, int workers) =>
        new("batch_not_shared", Invariant($"{file}: batch {batch} cannot be shared by {workers} workers: use a multiple"), null,
            ("file", file), ("batch", batch), ("workers", workers));

    public static TrainingException BatchNotShared(string file, IEnumerable<int> batch, int workers) =>
        new("batch_not_shared", Invariant($"{file}: batch {Shown(batch)} cannot be shared by {workers} workers: use multiples"), null,
            ("file", file), ("batch", Shown(batch)), ("workers", workers));

    public static TrainingException BatchNotSharedByProcesses(int batch, int workers, int processes) =>
        new("batch_not_shared", Invariant($"batch {batch} cannot be shared by {workers} workers of {processes} processes: use a multiple"), null,
            ("batch", batch), ("workers", workers), ("processes", processes));

    public static TrainingException BatchNotSharedByProcesses(IEnumerable<int> batch, int workers, int processes) =>
        new("batch_not_shared", Invariant($"batch {Shown(batch)} cannot be shared by {workers} workers of {processes} processes: use multiples"), null,
            ("batch", Shown(batch)), ("workers", workers), ("processes", processes));

    public static TrainingException BatchOfOtherStages(string file, int numbers, int stages) =>
        new("numbers_per_stage", Invariant($"{file}: batch has {numbers} numbers: give {stages}, one for each stage"), null,
            ("file", file), ("key", "batch"), ("numbers", numbers), ("stages", stages));

    public static TrainingException RatiosOfOtherStages(IReadOnlyCollection<int> ratios, int stages) =>
        new("numbers_per_stage", Invariant($"sample_ratios {Shown(ratios)} has {ratios.Count} numbers: give {stages}, one for each stage"), null,
            ("key", "sample_ratios"), ("value", Shown(ratios)), ("numbers", ratios.Count), ("stages", stages));

    public static TrainingException RatiosInvalid(IEnumerable<int> ratios) => Value(null, "sample_ratios", Shown(ratios), "must be 0 or more, and not all 0");

    public static TrainingException ProcessesNotGrouped(int processes, int group) =>
        new("processes_not_grouped", Invariant($"{processes} processes cannot be grouped by video_sync_group {group}: use a divisor of {processes}"), null,
            ("processes", processes), ("video_sync_group", group));

    public static TrainingException NoCaptions(string file) => Value(file, "captions", "none", "leaves nothing to learn from: use text or features");

    public static TrainingException FeaturesOfMedia(string file) =>
        new("features_of_media", $"{file}: captions features go with input latents: extract latents too, or use captions text", null, ("file", file));

    // LoRAs.

    /// <summary>The error for settings with which no LoRA can be trained.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="inner">The error of the LoRA.</param>
    public static TrainingException LoraInvalid(string file, PyramidFlowException inner) =>
        new("lora_invalid", $"{file}: lora: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    public static TrainingException ConfigOfLora(string file) =>
        new("config_of_lora", $"{file} describes a LoRA: train it with 'train lora', or take the key lora out", null, ("file", file));

    public static TrainingException LoraFromScratch(string file) =>
        new("lora_from_scratch", $"{file}: a LoRA adds to the weights of the model's folder: leave from_scratch out", null, ("file", file));

    public static TrainingException LoraWithoutModel(string file) =>
        new("lora_without_model", $"{file}: a LoRA belongs to a model: name its folder in start_from", null, ("file", file));

    public static TrainingException LoraWithNewWeights(string file) =>
        new("lora_with_new_weights", $"{file}: a LoRA adds to the weights of start_from and is kept alone: leave new_weights and keep_steps out", null, ("file", file));

    // Samples.

    public static TrainingException SamplesMissing(string file, int every) =>
        new("samples_missing", Invariant($"{file}: sample_every {every} without samples: name the prompts, such as \"samples\": {{ \"prompts\": [\"a red ball\"] }}"), null,
            ("file", file), ("sample_every", every));

    public static TrainingException SampleEveryMissing(string file) =>
        new("sample_every_missing", $"{file}: samples needs sample_every, the number of steps between two sheets", null, ("file", file));

    public static TrainingException SamplesWithoutPrompts(string file) =>
        new("samples_without_prompts", $"{file}: samples has no prompts: name some, or leave samples out", null, ("file", file));

    /// <summary>The error for samples that the model cannot make.</summary>
    /// <param name="inner">The error of the request.</param>
    public static TrainingException SamplesImpossible(PyramidFlowException inner) =>
        new("samples_impossible", $"samples: {inner.Message}", inner, ("reason", inner.Message));

    // The VAE and its discriminator.

    public static TrainingException WorkersOfVae(string file, int workers) =>
        Value(file, "workers", workers, "is impossible here, one process computes one batch at a time: use 1, and data.workers for the decoding");

    public static TrainingException LossWeightNegative(string file) => new("loss_weight_negative", $"{file}: a weight of the loss is less than 0", null, ("file", file));

    public static TrainingException NothingLearned(string file) =>
        new("nothing_learned", $"{file}: pixel_weight and perceptual_weight are both 0: nothing is learned", null, ("file", file));

    public static TrainingException LpipsMissing(string file, double weight) =>
        new("lpips_missing", Invariant($"{file}: perceptual_weight {weight} needs the LPIPS weights: give their file (vgg_lpips.pth) as lpips, or set perceptual_weight to 0"),
            null, ("file", file), ("perceptual_weight", weight));

    public static TrainingException ClipsMisfitVae(string bucket, int spatial, int temporal) =>
        new("clips_misfit_vae", Invariant($"clips of {bucket} do not fit this vae: use multiples of {spatial} pixels, and 1 + multiples of {temporal} frames"), null,
            ("bucket", bucket), ("spatial", spatial), ("temporal", temporal));

    public static TrainingException ClipsTooSmall(string bucket, int layers, int leastSide) =>
        new("clips_too_small", Invariant($"clips of {bucket} are too small for a discriminator of {layers} layers: use at least {leastSide}x{leastSide}, or fewer layers"),
            null, ("bucket", bucket), ("layers", layers), ("least_side", leastSide));

    public static TrainingException WindowsMisfit(long frames, int windows, long below, long above) =>
        new("windows_misfit", Invariant($"a clip of {frames} frames does not divide into {windows} windows of whole latent frames: use {below} or {above} frames"), null,
            ("frames", frames), ("windows", windows), ("below", below), ("above", above));

    public static TrainingException ItemsNotHalved(string file, string bucket, int multiple) =>
        new("items_not_halved", Invariant($"{file}: items of {bucket} cannot be halved for every stage: use multiples of {multiple}"), null,
            ("file", file), ("bucket", bucket), ("multiple", multiple));

    // The sprites world.

    public static TrainingException TransformerMissing(string file) =>
        new("transformer_missing", $"{file}: transformer is missing: give its keys, or in start_from the model folder that has them", null, ("file", file));

    public static TrainingException OtherTextEncoders(string file) =>
        new("other_text_encoders", $"{file}: the text encoders of sprites are those of pyramid_flux: give its keys in transformer", null, ("file", file));

    public static TrainingException VaeLevels(string file, int levels) =>
        new("vae_levels", Invariant($"{file}: the vae must halve {levels} times"), null, ("file", file), ("levels", levels));

    public static TrainingException FramesNotWhole(string file, int frames, int below) =>
        Value(file, "frames", frames, Invariant($"is not 1 + 8n: use {below}"), ("below", below));

    public static TrainingException CropInvalid(string file, int crop, int most) =>
        Value(file, "crop", crop, Invariant($"is not a multiple of 8 up to {most}"), ("most", most));

    public static TrainingException ShapeSharesInvalid(string file, int shapes) =>
        new(ValueInvalidCode, Invariant($"{file}: shape_shares takes {shapes} numbers of at least 0, not all 0: for circle, square, triangle and star"), null,
            ("file", file), ("key", "shape_shares"), ("numbers", shapes));

    public static TrainingException ShapeWithoutClip(int clips, string shape) =>
        new("shape_without_clip", Invariant($"none of {clips} clips shows a {shape}: raise clips or leave shape_shares out"), null, ("clips", clips), ("shape", shape));

    public static TrainingException MuonInShares(string file) =>
        new("muon_in_shares", $"{file}: shares of the weights cut the matrices that Muon needs whole: use optimizer AdamW, or shard none", null, ("file", file));

    public static TrainingException MuonInCodes(string file) =>
        new("muon_in_codes", $"{file}: Muon's momentum is not held in 8-bit codes: use optimizer AdamW, or moments float32", null, ("file", file));

    public static TrainingException CausalFullSequence(string file) =>
        new("causal_full_sequence", $"{file}: full_sequence lets every frame see every other: set use_temporal_causal to false in transformer", null, ("file", file));

    public static TrainingException KeptBetweenCheckpoints(string file, IEnumerable<int> steps, int every) =>
        new("kept_between_checkpoints", Invariant($"{file}: keep_steps {Shown(steps)} are not all multiples of checkpoint_every {every}: weights are kept at checkpoints"),
            null, ("file", file), ("keep_steps", Shown(steps)), ("checkpoint_every", every));

    public static TrainingException ChannelsTooFew(long channels, long groups, long signals) =>
        new("channels_too_few", Invariant($"{channels} channels in {groups} groups cannot carry {signals} signals as pairs beside constants"), null,
            ("channels", channels), ("groups", groups), ("signals", signals));

    public static TrainingException VaeRunMissing(string file, string folder) =>
        new("vae_run_missing", $"{file} is missing: run 'train vae --out {folder}' first", null, ("file", file), ("folder", folder));

    public static TrainingException VaeRunUnfinished(string file) =>
        new("vae_run_unfinished", $"{file} is missing, without which there are no samples to look at: finish 'train vae' first, or leave samples out", null, ("file", file));

    public static TrainingException RunUnfinished(string folder, string part) =>
        new("run_unfinished", $"{folder} holds no finished run of the {part}: run 'train {part} --out {folder}' first", null, ("folder", folder), ("part", part));

    // Runs.

    public static TrainingException RunInUse(string folder, Exception inner) =>
        new("run_in_use", $"{folder} is in use by another training: wait for it or choose another --out", inner, ("folder", folder));

    public static TrainingException ConfigOfOtherTool(string file, string reason) =>
        new("config_of_other_tool", $"{file} is no configuration of a training here ({reason}): train init DATA -o mine.json writes one, a JSON object, and configs/ has examples", null, ("file", file));

    public static TrainingException StateDamaged(string file, long? earlier, Exception cause) =>
        new("state_damaged", Invariant($"the newest state of the run is damaged ({cause.Message.Split("; ")[0]}): ")
            + (earlier is { } step ? Invariant($"delete {file} to go on from step {step}") : $"put a copy of it in its place, or delete {file} to begin anew"), cause, ("file", file), ("earlier", earlier));

    /// <summary>The error for a loss or gradient that is no number.</summary>
    /// <param name="step">The step, which is not applied.</param>
    /// <param name="names">Names of the losses and norms.</param>
    /// <param name="file">File with the batch.</param>
    /// <param name="weight">A weight that is not finite itself; null where there is none.</param>
    public static TrainingException NotFinite(long step, IEnumerable<string> names, string? file, string? weight)
    {
        var wrong = string.Join(", ", names);
        return new(weight is null ? LossNotFiniteCode : WeightNotFiniteCode,
            Invariant($"step {step}: {wrong} not a number; {(file is null ? "nothing was saved" : $"the batch is saved in {file} and the last checkpoint is intact")}: ")
                + (weight is null ? "inspect the batch, or resume with a lower learning_rate or with precision float32"
                    : $"the weight {weight} holds a number that is not finite already, so begin with another checkpoint (models verify looks at every weight)"),
            null, ("step", step), ("names", wrong), ("file", file), ("weight", weight));
    }

    /// <summary>The error for a file of a run that cannot be written.</summary>
    /// <param name="what">What was written: start, checkpoint, metrics, measurement or summary.</param>
    /// <param name="step">Number of completed steps.</param>
    /// <param name="saved">Step of the newest state; null before the first.</param>
    /// <param name="inner">Error of the file.</param>
    public static TrainingException NotWritten(string what, long step, long? saved, Exception inner) =>
        new("step_not_written", Invariant($"the {what} of step {step} cannot be written ({inner.Message}); ")
            + (saved is { } kept ? Invariant($"the state of step {kept} is whole") : "there is no earlier one") + ": make room and start the same command again", inner,
            ("what", what), ("step", step), ("saved", saved), ("reason", inner.Message));

    public static TrainingException MetricsMissing(string file) =>
        new("metrics_missing", $"{file} does not exist: name a file of metrics, such as metrics.jsonl of a run", null, ("file", file));

    public static TrainingException MetricsMalformed(string file, int line) =>
        new("metrics_malformed", Invariant($"{file}, line {line} is no JSON object: it is no file of metrics"), null, ("file", file), ("line", line));

    /// <summary>The error for a line that is not JSON, or is too long.</summary>
    /// <param name="file">The file.</param>
    /// <param name="line">Its line.</param>
    /// <param name="reason">What is wrong.</param>
    /// <param name="inner">Error of the reader.</param>
    public static TrainingException MetricsMalformed(string file, long line, string reason, Exception inner) =>
        new("metrics_malformed", Invariant($"{file}, line {line} is no JSON object: it is no file of metrics ({reason})"), inner,
            ("file", file), ("line", line), ("reason", reason));

    public static TrainingException MetricsWithoutStep(string file, int line) =>
        new("metrics_without_step", Invariant($"{file}, line {line} has no step: it is no file of metrics"), null, ("file", file), ("line", line));

    private static TrainingException Value(string? file, string key, object value, string rule, params ReadOnlySpan<(string Name, object? Value)> parameters) =>
        new(ValueInvalidCode, Invariant($"{(file is null ? "" : $"{file}: ")}{key} {value} {rule}"), null, [("file", file), ("key", key), ("value", value), .. parameters]);

    // What other values of a key mean, where its name does not say it.
    private static string Instead(string key) => key switch
    {
        "clip_norm" => ": 0 does not clip",
        "spike_factor" => ": 0 never skips a step",
        "keep_every" => ": 0 keeps none for good",
        "sample_every" => ": 0 makes none",
        "windows" => ": 1 is the whole clip at once",
        "discriminator.weight" => ": leave the discriminator out to train without",
        _ => "",
    };

    private static string Shown(IEnumerable<int> numbers) => $"[{string.Join(", ", numbers)}]";
}
