using System.Globalization;
using static System.FormattableString;

namespace PyramidFlow.Torch;

/// <summary>Errors about what is made of weights: configurations, folders of models, latents, LoRAs and states of training.</summary>
internal static partial class CheckpointFault
{
    // Configurations.

    public static CheckpointException ConfigMissing(string file, Exception inner) =>
        new("file_missing", $"{file} does not exist: download the checkpoint again, its configs are part of it", inner, ("file", file));

    /// <summary>The error for a file that is not JSON, or has a value of the wrong type.</summary>
    /// <param name="file">The file.</param>
    /// <param name="reason">What is wrong, with the key.</param>
    /// <param name="key">The key at fault; null where it is none.</param>
    /// <param name="inner">Error of the reader.</param>
    public static CheckpointException ConfigMalformed(string file, string reason, string? key, Exception inner) =>
        new("config_malformed", $"{file}: {reason}", inner, ("file", file), ("key", key), ("reason", reason));

    public static CheckpointException ConfigNoObject(string file) => new("config_no_object", $"{file} is not a JSON object", null, ("file", file));

    public static CheckpointException ConfigLacks(string file, IEnumerable<string> keys) =>
        new("config_lacks", $"{file} lacks {string.Join(", ", keys)}", null, ("file", file), ("keys", string.Join(", ", keys)));

    public static CheckpointException UnknownConfigKeys(string file, IEnumerable<string> keys, IEnumerable<string> known) =>
        new("unknown_config_keys", $"{file} has the unknown key {string.Join(", ", keys)}; known are {string.Join(", ", known)}", null,
            ("file", file), ("keys", string.Join(", ", keys)), ("known", string.Join(", ", known)));

    /// <summary>The error for a key with an invalid value.</summary>
    /// <param name="file">The file.</param>
    /// <param name="key">The key.</param>
    /// <param name="reason">What is wrong and which values are valid: "is 0; it must be positive".</param>
    public static CheckpointException ConfigValue(string file, string key, string reason) =>
        new("config_value_invalid", $"{file}: {key} {reason}", null, ("file", file), ("key", key), ("reason", reason));

    public static CheckpointException UnknownFamily(string file) =>
        new("unknown_family", $"{file} has neither _class_name nor the keys of a known diffusion transformer", null, ("file", file), ("class", null));

    public static CheckpointException UnknownFamily(string file, string name, IEnumerable<string> known) =>
        new("unknown_family", $"{file}: _class_name is {name}; known are {string.Join(" and ", known)}", null,
            ("file", file), ("class", name), ("known", string.Join(" and ", known)));

    // Checkpoint folders.

    public static CheckpointException CheckpointMissing(string folder) =>
        new("folder_missing", $"{folder} does not exist: name the folder of a checkpoint, or a model that lies in models beside the program (package PyramidFlow.Sprites.Model for sprites)", null, ("folder", folder));

    public static CheckpointException FolderOfOneModel(string folder, string? around) =>
        new("folder_of_one_model", $"{folder} is one model of a checkpoint: name the folder around it, {around}", null, ("folder", folder), ("around", around));

    public static CheckpointException NotACheckpoint(string folder, string needed) =>
        new("not_a_checkpoint", $"{folder} is not a checkpoint folder: it needs {needed}", null, ("folder", folder), ("needed", needed));

    public static CheckpointException NoSuchVariant(string folder, string variant, string name, IEnumerable<string> known) =>
        new("no_such_variant", $"{folder} has no {name}, only {string.Join(", ", known)}: use one of these, or download it", null,
            ("folder", folder), ("variant", variant), ("known", string.Join(", ", known)));

    public static CheckpointException ComponentMissing(string folder, string component) =>
        new("component_missing", $"{folder} has no {component} folder: download it, or copy it there", null, ("folder", folder), ("component", component));

    public static CheckpointException NoTokenizer(string folder) =>
        new("no_tokenizer", $"{folder} has neither tokenizer.json nor spiece.model: it is not a T5 tokenizer folder", null, ("folder", folder));

    public static CheckpointException TokenizerUnusable(string file, string reason, Exception inner) =>
        new("tokenizer_unusable", $"{file} is not a usable tokenizer file: {reason}", inner, ("file", file), ("reason", reason));

    // Reasons of tokenizer files, whose readers do not know the file.

    public const string MessageCutOff = "its protobuf message is cut off or damaged";

    public const string NoUnknownPiece = "it has no piece for unknown text";

    public const string NoByteFallback = "byte_fallback is not supported; T5 vocabularies have none";

    public static string UnknownWireType(int type) => $"wire type {type} is unknown";

    public static string WrongWireType(int type, int expected) => $"a field has wire type {type} in place of {expected}";

    public static string PieceWithoutText(int piece) => $"piece {piece} has no text";

    public static string PieceTooLong(int piece, int bytes, int most) => $"piece {piece} has {bytes} bytes; a piece has at most {most}";

    public static string NoUnigram(ulong type) => $"its model type is {type}; a T5 tokenizer has type 1, unigram";

    public static string TooManySteps(string member, int most) => $"its {member} has more than {most} steps";

    public static string TextTooLong(int most) => $"its normalizer makes more than {most} characters of a text";

    public static string TokenIdOutOfRange(int id, int most) => $"the id of added token {id} is not one of 0 to {most}";

    public static string NoTokenId(string key) => $"added_tokens_decoder has the key \"{key}\", which is not the id of a token";

    public static string MemberMissing(string member) => $"it lacks \"{member}\"";

    public static string MemberOfWrongKind(string member, string shown, string expected) => $"its \"{member}\" is {shown} where {expected} belongs";

    // Models of one checkpoint that do not fit.

    public static CheckpointException TwoFamilies(string component, string other, string families) =>
        new("two_families", $"{component} and {other} are of two kinds ({families}), which need other text encoders: keep them in two folders", null,
            ("component", component), ("other", other), ("families", families));

    public static CheckpointException VaeScale(string file, int spatial, int temporal, int needed) =>
        new("vae_scale_unsupported", Invariant($"{file}: this VAE makes frames {spatial} times smaller and {temporal} times fewer; a pipeline needs {needed} and {needed}"), null,
            ("file", file), ("spatial", spatial), ("temporal", temporal), ("needed", needed));

    public static CheckpointException MoreTokensThanRows(string folder, long tokens, string encoder, long rows) =>
        new("more_tokens_than_rows", Invariant($"{folder} has {tokens} tokens where {encoder} has {rows} rows: {Mend}"), null,
            ("folder", folder), ("tokens", tokens), ("component", encoder), ("rows", rows));

    public static CheckpointException TokenizerOfOtherModel(string model, long tokens, long rows) =>
        new("tokenizer_of_other_model", Invariant($"the tokenizer of {model} has {tokens} tokens, the model only {rows}: they are not from the same checkpoint"), null,
            ("model", model), ("tokens", tokens), ("rows", rows));

    public static CheckpointException LatentsDiffer(string component, long takes, string vae, long gives) =>
        new("latent_channels_differ", Invariant($"{component} takes latents of {takes} channels where {vae} gives {gives}: {Mend}"), null,
            ("component", component), ("takes", takes), ("other", vae), ("gives", gives));

    public static CheckpointException TextDiffers(string component, long takes, string encoder, long gives) =>
        new("text_width_differs", Invariant($"{component} takes text tokens of {takes} where {encoder} gives {gives}: {Mend}"), null,
            ("component", component), ("takes", takes), ("other", encoder), ("gives", gives));

    public static CheckpointException PooledDiffers(string component, long takes, string encoders, long give) =>
        new("pooled_width_differs", Invariant($"{component} takes pooled text of {takes} where {encoders} give {give}: {Mend}"), null,
            ("component", component), ("takes", takes), ("other", encoders), ("gives", give));

    /// <summary>The error for a configuration of which no network can be made.</summary>
    /// <param name="component">Folder of the model.</param>
    /// <param name="inner">Error of the network.</param>
    public static CheckpointException NetworkImpossible(string component, Exception inner) =>
        new("network_impossible", inner.Message, inner, ("component", component), ("reason", inner.Message));

    /// <summary>The error for a checkpoint with some faults: the fault itself where it is one, else one with all of them inside.</summary>
    public static CheckpointException Several(IReadOnlyList<CheckpointException> faults) => faults is [var only]
        ? only
        : new("several_faults", string.Join("; ", faults.Select(fault => fault.Message)), new AggregateException(faults),
            ("codes", string.Join(", ", faults.Select(fault => fault.Code))));

    // Models of training runs.

    public static CheckpointException RunMissing(string folder, string component) =>
        new("run_missing", $"{folder} does not exist: name the folder of a training run with a {component}", null, ("folder", folder), ("component", component));

    /// <summary>The error for a folder without the model that is looked for.</summary>
    /// <param name="folder">The folder.</param>
    /// <param name="component">Folder name of the model.</param>
    /// <param name="kind">Content of the folder: <c>lora</c>, <c>vae</c>, <c>transformer</c>, <c>begun</c> (a run without a checkpoint) or <c>other</c>.</param>
    public static CheckpointException RunWithoutPart(string folder, string component, string kind)
    {
        var hint = kind switch
        {
            "lora" => "it is a run of train lora: use --lora",
            "vae" => "it is a run of train vae: use --vae",
            "transformer" => "it is a run of train dit: use --transformer",
            "begun" => "its run has no checkpoint yet: wait for the first one, or stop the run, which saves one",
            _ => "name the folder of a training run (its --out), or of the model in it",
        };
        return new("run_without_part", $"{folder} holds no {component}: {hint}", null, ("folder", folder), ("component", component), ("kind", kind));
    }

    public static CheckpointException RunOfOtherFamily(string folder, string family, string model, string needed) =>
        new("run_of_other_family", $"{folder} holds a {family} where {model} is a {needed}: name the model that the run began with (--model)", null,
            ("folder", folder), ("family", family), ("model", model), ("needed", needed));

    /// <summary>The error for a model of a run whose inputs or outputs have another width than those of the checkpoint.</summary>
    /// <param name="folder">The run.</param>
    /// <param name="what">Features of that width: text tokens, pooled text or latents.</param>
    /// <param name="width">Width of the run's model.</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="needed">Its width.</param>
    public static CheckpointException RunOfOtherSize(string folder, string what, long width, string model, long needed) =>
        new("run_of_other_size", Invariant($"{folder} was trained for {what} of {width} where {model} has {needed}: name the model that the run began with (--model)"), null,
            ("folder", folder), ("what", what), ("width", width), ("model", model), ("needed", needed));

    // Writing checkpoints.

    public static CheckpointException TargetNotEmpty(string folder) =>
        new("target_not_empty", $"{folder} is there and not empty: choose a new folder, or remove it", null, ("folder", folder));

    /// <summary>The error for a disk without enough space.</summary>
    /// <param name="folder">The target.</param>
    /// <param name="shortage">The sentence about it.</param>
    public static CheckpointException DiskTooSmall(string folder, string shortage) => new("disk_too_small", shortage, null, ("folder", folder));

    public static CheckpointException TooLargeForHalf(string file, string key, double largest) =>
        new("too_large_for_fp16", Invariant($"{file}: {key} holds {largest:G4}, too large for fp16: convert it to bf16 or fp32"), null,
            ("file", file), ("key", key), ("largest", largest));

    // Files of latents.

    public static CheckpointException NoLatents(string file) =>
        new("no_latents", $"{file} holds no latents of a clip: use a file that was written by this program", null, ("file", file));

    public static CheckpointException LatentsLack(string file, string key) =>
        new("latents_lack", $"{file} does not say {key}, so that its latents cannot be read: use a file that was written by this program", null,
            ("file", file), ("key", key));

    public static CheckpointException LatentsNotFinite(string file, string key) =>
        new("latents_not_finite", $"{file} holds numbers that are not finite in {key}: make the latents again", null, ("file", file), ("key", key));

    // LoRAs.

    public static CheckpointException LoraMissing(string file) =>
        new("file_missing", $"{file} does not exist: give the LoRA's safetensors file, or the folder of an adapter", null, ("file", file));

    public static CheckpointException NoLora(string file) =>
        new("no_lora", $"{file} holds no LoRA: none of its keys ends in lora_A.weight or lora_down.weight", null, ("file", file));

    public static CheckpointException NoLoraFile(string folder, IEnumerable<string> known) =>
        new("no_lora_file", $"{folder} holds no LoRA: it needs {string.Join(", ", known)} or another safetensors file", null,
            ("folder", folder), ("known", string.Join(", ", known)));

    public static CheckpointException SeveralLoraFiles(string folder, IReadOnlyList<string> names)
    {
        const int shown = 6;
        var files = string.Join(", ", names.Take(shown)) + (names.Count > shown ? ", ..." : "");
        return new("several_lora_files", $"{folder} holds several files ({files}): name the one to use", null, ("folder", folder), ("files", files));
    }

    public static CheckpointException OtherAdapter(string file, string kind) =>
        new("other_adapter", $"{file} is {kind}, not a plain LoRA, and is not read here", null, ("file", file), ("kind", kind));

    public static CheckpointException LoraOfText(string file, string layer, int others) =>
        new("lora_of_text_encoder",
            $"{file} changes a text encoder ({layer} and {others} more), and only LoRAs of the transformer are read: make it without the text encoders",
            null, ("file", file), ("layer", layer), ("others", others));

    public static CheckpointException LoraOfOtherModel(string file, string layer, int pairs) =>
        new("lora_of_other_model", $"{file} is a LoRA of another model: there is no layer {layer} here, nor any other of its {pairs}", null,
            ("file", file), ("layer", layer), ("layers", pairs));

    public static CheckpointException LoraMisfit(string file, IReadOnlyList<string> differences) =>
        new("lora_misfit", $"{file} does not fit this model: {Shown(differences, 6)}", null, ("file", file), ("differences", Shown(differences, 6)));

    public static string NoPair(string key) => $"{key} belongs to no pair of matrices";

    public static string NoLayer(string layer) => $"the model has no layer {layer}";

    public static string SameLayer(string key, string other) => $"{key} and {other} are for the same layer: leave one of the adapters";

    public static string NotOneNumber(string key, long[] shape) => $"{key} is {Shown(shape)} where one number belongs";

    public static string MatricesDiffer(string layer, long[] up, long[] down, IEnumerable<long> model) =>
        $"{layer} is {Shown(up)} x {Shown(down)} where the model has {Shown(model)}";

    public static CheckpointException LoraOnInt8(string file, string layer) =>
        new("lora_on_int8", $"{file} cannot be added to {layer}, which is int8: use the checkpoint it was converted from", null, ("file", file), ("layer", layer));

    public static CheckpointException LoraTooLarge(string file, string layer, double factor) =>
        new("lora_too_large", Invariant($"{file}: the numbers of {layer} are too large, counted {factor} times: let it count less"), null,
            ("file", file), ("layer", layer), ("factor", factor));

    public static CheckpointException LoraAlphaNotFinite(string file, string key) =>
        new("lora_not_finite", $"{file}: {key} is not a finite number: the file is damaged, take another copy", null, ("file", file), ("key", key));

    public static CheckpointException LoraNotFinite(string file, string key) =>
        new("lora_not_finite", $"{file}: {key} holds a number that is not finite: the file is damaged, or its training failed; take another copy or an earlier one", null,
            ("file", file), ("key", key));

    /// <summary>The error for a process that is not at fault itself.</summary>
    public static CheckpointException LoraRefusedElsewhere() =>
        new("lora_refused_elsewhere", "another of the processes that make the video together cannot add a LoRA: its log says why; leave the LoRA out") { IsOfRequestedLora = true };

    /// <summary>The error for settings of a LoRA that another program wrote.</summary>
    /// <param name="file">The file, or the file and the part of it.</param>
    /// <param name="reason">What is wrong, with the key.</param>
    /// <param name="key">The key at fault; null where it is none.</param>
    /// <param name="inner">Error of the reader.</param>
    public static CheckpointException LoraSettings(string file, string reason, string? key, Exception inner) =>
        new("lora_settings_invalid", $"{file}: {reason}", inner, ("file", file), ("key", key), ("reason", reason));

    public static CheckpointException LoraRankDiffers(string file, double rank, string layer, long rows) =>
        new("lora_rank_differs", Invariant(
            $"{file} says rank {rank} for {layer}, whose matrices have {rows}: it is of another LoRA; take the one that came with the file, or move it away"),
            null, ("file", file), ("rank", rank), ("layer", layer), ("rows", rows));

    // Training of LoRAs.

    public static CheckpointException LoraRank(int rank) =>
        new("lora_rank_invalid", $"a LoRA of rank {rank} has no weights: use a rank of at least 1", null, ("rank", rank), ("least", 1));

    public static CheckpointException LoraAlpha(double alpha) =>
        new("lora_alpha_invalid", Invariant($"alpha {alpha} is {(alpha == 0 ? "nothing" : "no number")} to scale a LoRA with: use the rank, or a number near it"), null, ("alpha", alpha));

    public static CheckpointException NoLoraTarget() =>
        new("no_lora_target", "targets names no layer: leave it out for the projections of attention, or name some");

    public static CheckpointException UnknownLoraTarget(string target, string known) =>
        new("unknown_lora_target", $"the LoRA target {target} names no layer of this model; there are: {known}", null, ("target", target), ("known", known));

    // Files that training reads.

    public static CheckpointException StateOfOtherRun(string file) =>
        new("state_of_other_run", $"{file} belongs to a run with another configuration: choose another --out, or delete it to start anew", null, ("file", file));

    public static CheckpointException StateOfOtherModel(string file, string key, long count) =>
        new("state_of_other_model", $"{file} does not hold {key} of {count} numbers: it is of another model", null, ("file", file), ("key", key), ("count", count));

    public static CheckpointException StateWithoutSteps(string file, string key) =>
        State("state_without_steps", file, key, "does not contain the number of steps");

    public static CheckpointException StateHistory(string file, string key, string reason) =>
        State("state_history_malformed", file, key, $"has a malformed loss history ({reason})", ("reason", reason));

    public static CheckpointException StateNumber(string file, string key, string text)
    {
        var shown = text.Length > 40 ? text[..40] : text;
        return State("state_number_invalid", file, key, $"has an invalid {key}, '{shown}'", ("value", shown));
    }

    public static CheckpointException VaeMissing(string folder) => new("folder_missing", $"{folder} does not exist: {NameVae}", null, ("folder", folder));

    public static CheckpointException NoVae(string folder, string component, string config) =>
        new("no_vae", $"{folder} holds no {component} with a {config}: {NameVae}", null, ("folder", folder), ("component", component));

    public static CheckpointException LpipsMissing(string file) =>
        new("file_missing", $"{file} does not exist: the perceptual loss needs the LPIPS weights (vgg_lpips.pth); fetch them, or set perceptual_weight to 0",
            null, ("file", file));

    public static CheckpointException OtherClips(string file, long clips, long frames) =>
        new("cache_of_other_clips", $"{file} holds {clips} clips of {frames} latent frames, not what the configuration asks for: delete it", null,
            ("file", file), ("clips", clips), ("frames", frames));

    public static CheckpointException OtherClips(string file, string key, string? found, string? wanted) =>
        new("cache_of_other_clips", $"{file} holds clips of {key} {found ?? "unknown"}, not {wanted ?? "none"}: delete it", null,
            ("file", file), ("key", key), ("found", found), ("wanted", wanted));

    private static CheckpointException Damaged(string code, string file, string reason, params ReadOnlySpan<(string Name, object? Value)> parameters) =>
        new(code, $"{file} is damaged: {reason}{Again}", null, [("file", file), .. parameters]);

    private static CheckpointException OfTorch(string code, string file, string reason, params ReadOnlySpan<(string Name, object? Value)> parameters) =>
        new(code, NotReadable(file, reason), null, [("file", file), .. parameters]);

    private static CheckpointException State(string code, string file, string key, string fault, params ReadOnlySpan<(string Name, object? Value)> parameters) =>
        new(code, $"{file} {fault}: it is damaged, delete it to start anew", null, [("file", file), ("key", key), .. parameters]);

    private static string NotReadable(string file, string reason) => $"{file} is not a readable PyTorch checkpoint: {reason}";

    private static string Shown(IEnumerable<long> shape) => $"[{string.Join(", ", shape.Select(size => size.ToString(CultureInfo.InvariantCulture)))}]";

    private static string Shown(IReadOnlyList<string> differences, int most) =>
        string.Join("; ", differences.Take(most)) + (differences.Count > most ? $"; and {differences.Count - most} more" : "");
}
