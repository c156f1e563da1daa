using PyramidFlow.Generation;
using PyramidFlow.Torch;
using static System.FormattableString;

namespace PyramidFlow.Cli.Terminal;

/// <summary>The command line is wrong: the exit code is <see cref="ExitCode.WrongUsage"/>.</summary>
internal sealed class UsageException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    internal UsageException(string code, string message, Exception? inner, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>A command could not do its work, although its line is right: the exit code is <see cref="ExitCode.Failed"/>.</summary>
internal sealed class CommandException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    internal CommandException(string code, string message, Exception? inner, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>All errors about the command line and about the work of commands: the only place of their codes and sentences.</summary>
internal static class CommandFault
{
    // Values of options.

    /// <summary>A value that a library refuses with a sentence of its own.</summary>
    public static UsageException ValueInvalid(Exception cause) => new("value_invalid", Faults.Sentence(cause), cause);

    /// <summary>A value that an area refuses with an error of its own, whose code and parameters stay.</summary>
    public static UsageException ValueRefused(PyramidFlowException cause) =>
        new(cause.Code, cause.Message, cause, [.. cause.Parameters.Select(parameter => (parameter.Key, parameter.Value))]);

    /// <summary>A name that is no device.</summary>
    /// <param name="device">The name.</param>
    /// <param name="cause">Error of the parser, whose message names the devices.</param>
    public static UsageException UnknownDevice(string device, FormatException cause) => new("device_unknown", cause.Message, cause, ("device", device));

    public static UsageException ParallelInvalid(string text, Exception cause) => new("parallel_invalid", $"--parallel {text}: {cause.Message}", cause, ("value", text));

    public static UsageException ParallelAlone(string ways, int processes) =>
        new("parallel_alone", Invariant($"--parallel {ways} is for {processes} processes and there is one: write {About.Name} launch --nproc {processes} -- generate ..."), null,
            ("ways", ways), ("processes", processes));

    public static UsageException GroupWithoutWorker() =>
        new("group_without_worker", $"--no-worker makes no videos, and several processes were started for them: start it without {About.Name} launch", null);

    public static UsageException LinkAlone() =>
        new("link_alone", "--link is the speed between processes: say how many there are with --ranks N", null);

    public static UsageException ProbeOfSeveral() =>
        new("probe_of_several", "--probe measures one process on this machine: leave out --ranks, or --probe", null);

    public static UsageException ProbeWithoutData(string file) =>
        new("probe_without_data", $"the data of {file} is not there, and --probe takes steps on it: leave out --probe, or get the data", null, ("file", file));

    public static UsageException ProbeWithoutDevice(string device) =>
        new("probe_without_device", $"this machine has no {device} to take steps on: leave out --probe, or set device=cpu", null, ("device", device));

    public static UsageException ProbeOfSprites(string file) =>
        new("probe_of_sprites", $"{file} has no data section, and --probe is for trainings on data of your own: leave it out, and train for a few steps (--set steps=3)", null, ("file", file));

    public static UsageException OverlapWithoutTile() =>
        new("overlap_without_tile", "--tile-overlap is a share of a tile: name the tile's side too, such as --tile 256", null);

    public static UsageException NoGpu(string device) =>
        new("no_gpu", $"--device {device}: this libtorch sees no GPU; leave --device out, or run {About.Name} doctor", null, ("device", device));

    public static UsageException TimeLimitInvalid(string variable, string text) =>
        new("time_limit_invalid", $"{variable} is '{text}': give seconds from 1 to 86400", null, ("variable", variable), ("value", text));

    public static UsageException TooManyClips(int count, int most) =>
        new("too_many_clips", Invariant($"--count {count} is more than one sheet holds: use at most {most}"), null, ("count", count), ("most", most));

    public static UsageException TwoFormats() => new("two_formats", "--json and --markdown are two ways to print the same: use one", null);

    public static UsageException UnknownKey(string key, string command) =>
        new("key_unknown", $"there is no key '{key}': {command} list names them", null, ("key", key));

    // Models.

    public static UsageException UnknownVariant(string model, string variant, IEnumerable<string> known)
    {
        var names = string.Join(", ", known);
        return new("variant_unknown", $"{model} has no variant '{variant}': {(names.Length > 0 ? $"use {names}" : "leave --variant out")}", null,
            ("model", model), ("variant", variant), ("known", names));
    }

    public static UsageException NoCheckpoint(string folder) =>
        new("no_checkpoint", $"{folder} is not a checkpoint folder: it has no diffusion_transformer_384p, _768p or _image in it", null, ("folder", folder));

    public static UsageException ModelNotInstalled(string model, string name) =>
        new("model_not_installed", $"the model {model} is not here yet: run {About.Name} models download {name}", null, ("model", model));

    public static UsageException UnknownModel(string model, IReadOnlyCollection<string> installed, string variable)
    {
        var known = string.Join(", ", installed);
        return new("model_unknown", $"unknown model '{model}': " + (installed.Count > 0
            ? $"use {known} or the folder of a checkpoint"
            : $"none is installed; name the folder of a checkpoint, or set {variable} to the folder around it"), null,
            ("model", model), ("known", known));
    }

    public static UsageException UnknownDownload(string model, IEnumerable<string> released)
    {
        var known = string.Join(", ", released);
        return new("download_unknown", $"unknown model '{model}': use {known}, or OWNER/NAME of a repository", null, ("model", model), ("known", known));
    }

    // Files of a command.

    public static UsageException OutputUnnamed(string extensions) =>
        new("output_unnamed", $"the output file has no name: give one that ends in {extensions}", null, ("extensions", extensions));

    public static UsageException OutputIsFolder(string path, string example) =>
        new("output_is_folder", $"{path} is a folder: name a file in it, such as {example}", null, ("path", path), ("example", example));

    public static UsageException OutputFolderMissing(string path) =>
        new("folder_missing", $"the folder {path} does not exist: make it with 'mkdir -p {path}', or name a file", null, ("folder", path));

    public static UsageException FolderMissing(string folder) =>
        new("folder_missing", $"the folder {folder} does not exist: make it with 'mkdir -p {folder}', or choose another", null, ("folder", folder));

    public static UsageException LoraFolderMissing(string folder) =>
        new("folder_missing", $"the folder {folder} does not exist: --lora-folder takes a folder of LoRAs", null, ("folder", folder));

    public static UsageException OutputKind(string file, string extension, string extensions) =>
        new("output_kind", $"cannot write {file}: {(extension.Length == 0 ? "it has no extension" : $"{extension} is not a kind of file this makes")}, name it {extensions}", null,
            ("file", file), ("extension", extension), ("extensions", extensions));

    public static UsageException InputMissing(string path, string use) =>
        new(Directory.Exists(path) ? "input_is_folder" : "input_missing",
            $"{(path.Length == 0 ? "a file without a name" : path)} {(Directory.Exists(path) ? "is a folder" : "does not exist")}: {use}", null, ("file", path));

    public static UsageException FolderCannotBeMade(string folder, Exception cause) =>
        new("folder_not_made", $"the folder {folder} cannot be made: choose another with -o ({cause.Message})", cause, ("folder", folder));

    public static UsageException FolderNotWritable(string folder, Exception cause) =>
        new("folder_not_writable", $"the folder {folder} cannot be written to: choose another with -o, or change its permissions", cause, ("folder", folder));

    // What a clip is made of, and where it goes.

    public static UsageException StreamKind(string example) =>
        new("stream_kind", $"only an .mp4 can be watched while it is made: leave --stream out, or name it {example}", null, ("example", example));

    public static UsageException StreamOverInput(string output) =>
        new("stream_over_input", $"{output} cannot be read and streamed to at once: leave --stream out, or choose another name", null, ("output", output));

    public static UsageException LatentsOfNewFrames() =>
        new("latents_of_new_frames", "latents can be decoded only from their beginning: leave --new-only or --save-latents out", null);

    public static UsageException StandardOutputIsTerminal() =>
        new("output_is_terminal", "standard output is a terminal, which shows no video: pipe it to a player, such as | ffplay -, or name a file", null);

    public static UsageException StandardOutputTakesOne() => new("standard_output_count", "standard output takes one video: leave --count out, or name a file", null);

    public static UsageException StandardOutputTakesVideo() => new("standard_output_json", "standard output takes the video: leave --json out, or name a file", null);

    public static UsageException PictureOfFrames(string output, int frames, string example) =>
        new("picture_of_frames", Invariant($"{output} holds one picture, not {frames} frames: use --frames 1, or name it {example}"), null, ("output", output), ("frames", frames), ("example", example));

    public static UsageException ScheduleWithoutBeginning() =>
        new("schedule_without_beginning", "the prompt schedule says nothing about second 0: begin it there, or give a prompt for its beginning", null);

    public static UsageException EmptyPrompt() => new("prompt_empty", "the prompt is empty: say in quotes what is to be seen, or give an --image", null);

    public static UsageException TwoLengths() => new("two_lengths", "--frames and --seconds both say how long the video is: use one of them", null);

    public static UsageException TwoBeginnings() => new("two_beginnings", "a picture and latents to go on from exclude each other: give one of them", null);

    public static UsageException NoPromptInVideo(string? file) =>
        new("no_prompt_in_video", $"{file} does not say what it was made from: say in quotes what is to be seen next", null, ("file", file));

    public static CommandException NoFrame(string file) => new("no_frame", $"{file} was not written: the model made no frame", null, ("file", file));

    // The file of --prompts.

    public static UsageException ScheduleMalformed(string file, int line, string reason, bool isNoJson, Exception cause) =>
        new("schedule_malformed", Invariant($"{file}{(line > 0 ? Invariant($" line {line}") : "")}: {reason}{(isNoJson ? $"; {PromptSchedule.Form}" : "")}"), cause,
            ("file", file), ("line", line), ("reason", reason));

    public static UsageException ScheduleInvalid(string file, FormatException cause) =>
        new("schedule_invalid", $"{file}: {cause.Message}", cause, ("file", file), ("reason", cause.Message));

    public static UsageException ScheduleMissing(string file, Exception cause) =>
        new("schedule_missing", $"{file} does not exist: --prompts takes a .json file", cause, ("file", file));

    public static UsageException FileUnreadable(string file, Exception cause) =>
        new("file_unreadable", $"cannot read {file}: {(Directory.Exists(file) ? "it is a folder" : cause.Message)}", cause, ("file", file));

    // A file that is made again: --like.

    public static UsageException NotesDamaged(string file, Exception cause) =>
        new("notes_damaged", $"what {file} says about itself is damaged, so it cannot be made again from that: {cause.Message}", cause, ("file", file));

    public static UsageException NotesMissing(string file) =>
        new("notes_missing", $"{file} does not say how it was made: --like takes a file that {About.Name} made, as it was written", null, ("file", file));

    public static UsageException LikeOfExtended(string file, string video, string found) =>
        new("like_of_extended", $"{file} goes on from the video {video}: use {About.Name} extend {found} --like {file}", null, ("file", file), ("video", video));

    public static UsageException NotedLatentsMissing(string file, string latents) =>
        new("noted_latents_missing", $"{file} goes on from the latents {latents}, which are neither here nor beside it: name them with --from-latents", null, ("file", file), ("latents", latents));

    public static UsageException NotedModelMissing(string file, string model, string variable) =>
        new("noted_model_missing", $"{file} was made by the model '{model}', which is not here: name its folder with --model, or set {variable} to the folder around it", null,
            ("file", file), ("model", model));

    public static UsageException NotedLoraMissing(string file, string lora) =>
        new("noted_lora_missing", $"{file} was made with the LoRA {lora}, which is neither here nor beside it: name it with --lora", null, ("file", file), ("lora", lora));

    public static UsageException NotedRunMissing(string file, string run, string component, string option) =>
        new("noted_run_missing", $"{file} was made with the {component} of the training run {run}, which is neither here nor beside it: name it with {option}", null,
            ("file", file), ("run", run), ("option", option));

    public static UsageException NotedPictureMissing(string file, string picture) =>
        new("noted_picture_missing", $"{file} was made from the picture {picture}, which is neither here nor beside it: name it with --image", null, ("file", file), ("picture", picture));

    // Batches.

    public static UsageException BatchWithoutFolder(string example) =>
        new("batch_without_folder", $"--batch writes many files: name a folder for them, such as -o {example}", null, ("example", example));

    public static UsageException BatchIntoFile(string output) =>
        new("batch_into_file", $"{output} is the name of one file: --batch writes many, name a folder for them with -o", null, ("output", output));

    public static UsageException BatchWithPrompt() => new("batch_with_prompt", "the prompts are in the --batch file: leave the other one out", null);

    public static UsageException BatchWithLike() => new("batch_with_like", "--like repeats one file and --batch makes many: use one of them", null);

    public static UsageException BatchWithLatents() =>
        new("batch_with_latents", "latents are those of one clip and --batch makes many: leave --save-latents and --from-latents out", null);

    public static UsageException BatchWithStream() =>
        new("batch_with_stream", "an unfinished streamed file looks like a finished one when the batch goes on: leave --stream out", null);

    public static UsageException BatchToStandardOutput() =>
        new("batch_to_standard_output", "--batch writes many files, and standard output takes one video: name a folder with -o", null);

    public static UsageException BatchKind(string file) =>
        new("batch_kind", $"cannot tell what {file} holds: name it .txt (a prompt on each line), .jsonl or .json", null, ("file", file));

    public static UsageException BatchEmpty(string file) =>
        new("batch_empty", $"{file} holds no prompt: write one on each line, or in JSON [\"a red ball\"]", null, ("file", file));

    public static UsageException BatchTooLarge(string file, long mostMib) =>
        new("batch_too_large", Invariant($"{file} is larger than {mostMib} MiB: split it"), null, ("file", file), ("most_mib", mostMib));

    public static UsageException BatchNotUtf8(string file) => new("batch_not_utf8", $"{file} is not UTF-8 text: save it as UTF-8", null, ("file", file));

    public static UsageException BatchNotJson(string file, long line, string reason, Exception cause) =>
        new("batch_not_json", Invariant($"{file} is not JSON: line {line}, {reason}"), cause, ("file", file), ("line", line), ("reason", reason));

    public static UsageException BatchOneValue(string file) =>
        new("batch_one_value", $"{file} holds one value: write a list of prompts, [\"a red ball\"], or an object of names and prompts", null, ("file", file));

    // Items of a batch. The place of an item is added where it is known.

    public static UsageException ItemMalformed(string reason, bool isNoJson, Exception cause) =>
        new("item_malformed", isNoJson ? $"{reason}: write a text in quotes or an object" : reason, cause, ("reason", reason));

    public static UsageException ItemKind() => new("item_kind", "an item is a text in quotes, or an object such as {\"prompt\": \"a red ball\", \"seed\": 7}", null);

    public static UsageException ItemKeyRepeated() => new("item_key_repeated", "this key stands above already, and one name is one file: give it another", null);

    public static UsageException ItemKeyMalformed() => new("item_key_malformed", "this key holds half of a character, or is not UTF-8: write whole characters", null);

    public static UsageException ItemNameRepeated(string? name) =>
        new("item_name_repeated", $"the name '{name}' stands above already, and one name is one file: give it another", null, ("name", name));

    public static UsageException ItemKeyTwice(string key) => new("item_key_twice", $"{key} stands twice: leave one out", null, ("key", key));

    public static UsageException ItemKeyUnknown(string key, string? near, IEnumerable<string> known) =>
        new("item_key_unknown", $"unknown key '{key}': {(near is null ? $"use {string.Join(", ", known)}" : $"did you mean {near}?")}", null, ("key", key), ("near", near));

    public static UsageException ItemValueInvalid(string key, string value, FormatException cause) =>
        new("item_value_invalid", $"{key} {(value.Length == 0 ? "is empty" : $"cannot be {value}")}: {cause.Message}", cause, ("key", key), ("value", value));

    public static UsageException ItemSideAlone(string side, string missing) => new("item_side_alone", $"{side} needs a {missing} beside it", null, ("side", side));

    // Training, its curves and its evaluation.

    public static UsageException ConfigurationMissing(string file) =>
        new("configuration_missing", $"{file} does not exist: the configurations that come with the program are in configs/", null, ("file", file));

    public static UsageException ConfigurationThere(string file) =>
        new("configuration_there", $"{file} is there already: choose another name with -o, or delete it", null, ("file", file));

    public static UsageException NoCaptions(int items) =>
        new("captions_none", Invariant($"none of the {items} items has a caption: put the text of clip.mp4 into clip.txt beside it, or a \"text\" into each line of the annotation file"), null, ("items", items));

    public static UsageException RunFolderIsFile(string path) => new("run_folder_is_file", $"{path} is a file: --out takes a folder", null, ("path", path));

    public static UsageException ExportWithoutModel(string run) =>
        new("export_without_model", $"{run} does not say which model it began with: name that with --model", null, ("run", run));

    public static UsageException BestMissing(string run) =>
        new("best_missing", $"{run} has kept no best weights: those of a transformer are kept once held-out items were measured; leave --best out for the newest ones", null, ("run", run));

    public static UsageException LabelCount(int labels, int files) =>
        new("label_count", Invariant($"--label names {labels} files where there are {files}: give one name for each, with commas between them"), null, ("labels", labels), ("files", files));

    public static UsageException LogOfZero() => new("log_of_zero", "a logarithmic axis has no place for 0 and less: leave --log out, or choose another axis", null);

    public static UsageException NoPoints(string file, string x, string key, IEnumerable<string> known) =>
        new("no_points", $"{file} has no line with both {x} and {key}: its keys are {string.Join(", ", known)}", null, ("file", file), ("x", x), ("key", key));

    public static UsageException NothingToPlot(string file, string start) =>
        new("nothing_to_plot", $"{file} has no key that begins with {start}: name what to plot with --y", null, ("file", file), ("start", start));

    public static UsageException TooFewFrames(string folder, int frames, string file) =>
        new("too_few_frames", Invariant($"{folder} makes clips of {frames} frames, too few to judge motion: set frames in {file} to 9 or more"), null,
            ("folder", folder), ("frames", frames), ("file", file));

    public static UsageException NoKeptWeights(string run) => new("no_kept_weights", $"{run} kept no weights on its way: train with keep_steps", null, ("run", run));

    public static UsageException StepNotKept(string run, IEnumerable<int> missing, IEnumerable<long> kept)
    {
        var steps = string.Join(", ", missing);
        return new("step_not_kept", $"{run} kept no weights of step {steps}: it has {string.Join(", ", kept)}", null, ("run", run), ("steps", steps));
    }

    // Benchmarks.

    public static UsageException TypesNotMeasured(IEnumerable<ElementType> types)
    {
        var shown = $"[{string.Join(", ", types)}]";
        return new("types_not_measured", $"{shown} are not measured: use Float32, BFloat16 or both", null, ("types", shown));
    }

    public static UsageException NoUnit() => new("no_unit", "no unit is named: use 0 for the first", null);

    public static UsageException UnitNegative(int unit) => new("unit_negative", Invariant($"unit {unit} is negative: use 0 for the first"), null, ("unit", unit));

    public static UsageException NoRuns(int runs) => new("no_runs", Invariant($"{runs} runs give no median: use 1 or more"), null, ("runs", runs));

    public static UsageException NoLatentFrames(IEnumerable<int> latentFrames)
    {
        var shown = $"[{string.Join(", ", latentFrames)}]";
        return new("no_latent_frames", $"{shown} latent frames make no video: use 1 or more", null, ("latent_frames", shown));
    }

    public static UsageException SizeNotMultiple(string side, int value, int multiple, int below) =>
        new("size_not_multiple", Invariant($"{side} {value} is not a multiple of {multiple}: use {below} or {below + multiple}"), null,
            ("side", side), ("value", value), ("multiple", multiple), ("below", below), ("above", below + multiple));

    public static UsageException FramesNotWhole(int frames, int multiple, int below) =>
        new("frames_not_whole", Invariant($"{frames} frames are not 1 more than a multiple of {multiple}: use {below}"), null,
            ("frames", frames), ("multiple", multiple), ("below", below));

    public static UsageException BlocksOutOfRange(string model, long blocks, int kept) =>
        new("blocks_out_of_range", Invariant($"{model} has {blocks} blocks, not {kept}: use 1 to {blocks}"), null, ("model", model), ("blocks", blocks), ("value", kept));

    public static UsageException NoReport(string folder) =>
        new("no_report", $"{folder} has no report to draw: keep what bench prints with --json in it, in files that end in .json", null, ("folder", folder));

    public static UsageException ReportIncomplete(string file) =>
        new("report_incomplete", $"{file} lacks date (as 2026-01-31), device or rows: keep what bench prints with --json", null, ("file", file));

    public static UsageException ReportNotJson(string file, string reason, Exception cause) =>
        new("report_not_json", $"{file} is not JSON as bench prints it ({reason}): measure again with --json", cause, ("file", file), ("reason", reason));

    // The service.

    public static CommandException DataFolder(string folder, Exception cause) =>
        new("data_folder_unusable", $"the data folder {folder} cannot be used ({Faults.Sentence(cause).TrimEnd('.')}): choose another with --data", cause, ("folder", folder));

    /// <summary>A background service has stopped the whole service.</summary>
    public static CommandException ServiceStopped(Exception cause) => new("service_stopped", Faults.Sentence(cause), cause);

    public static CommandException PortInUse(string host, int port, Exception cause) =>
        new("port_in_use", Invariant($"port {port} of {host} is in use by another program: stop that, or choose another port with --port"), cause, ("port", port), ("host", host));

    public static CommandException PortForbidden(int port, Exception cause) =>
        new("port_forbidden", Invariant($"port {port} may not be opened by this user: choose one from 1024 on with --port"), cause, ("port", port));

    public static UsageException AddressElsewhere(string host, Exception cause) =>
        new("address_elsewhere", $"{host} is no address of this machine: choose another with --host", cause, ("host", host));
}
