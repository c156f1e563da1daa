using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using static System.FormattableString;

namespace PyramidFlow.Training;

/// <content>The data: its options, annotation files, items and extraction.</content>
internal static partial class TrainingFault
{
    private const string Example = "{\"video\": \"a.mp4\", \"text\": \"a red ball\"}";
    private const string SomeSize = "give at least one, such as [\"640x384\"]";
    private const string SomeLength = "give at least one length, such as [121]";
    private const string ListThem = "run data check to list them";

    // Options.

    public static TrainingException NoAnnotations() => new("no_annotations", "data.annotations is empty: name at least one file", null, ("key", "data.annotations"));

    public static TrainingException RateImpossible(double rate) =>
        Value(null, "data.fps", rate, "is impossible: use 1 to 240, or null for the frames as stored", ("least", 1), ("most", 240));

    public static TrainingException LengthNotWhole(string key, int frames, int multiple) =>
        Value(null, key, frames, Invariant($"is not 1 + a multiple of {multiple}"), ("multiple", multiple));

    public static TrainingException SizesMissing() => new("sizes_missing", $"data.sizes is missing: {SomeSize}", null, ("key", "data.sizes"));

    public static TrainingException SizesEmpty() => new("sizes_missing", $"sizes is empty: {SomeSize}", null, ("key", "sizes"));

    public static TrainingException LengthsMissing() => new("frames_missing", $"data.frames is missing: {SomeLength}", null, ("key", "data.frames"));

    public static TrainingException LengthsEmpty() => new("frames_missing", $"frames is empty: {SomeLength}", null, ("key", "frames"));

    public static TrainingException ClipNotWhole(int frames, int below, int above) =>
        new("frames_not_whole", Invariant($"a clip of {frames} frames cannot be encoded: use {below} or {above}"), null,
            ("frames", frames), ("below", below), ("above", above));

    public static TrainingException SizeMalformed(string size) =>
        new("size_malformed", $"the size {size} is not width x height in pixels, such as 640x384", null, ("size", size));

    public static TrainingException SizeNotMultiple(string size, int multiple, string fit) =>
        new("size_not_multiple", Invariant($"the size {size} is not made of multiples of {multiple}: use {fit}"), null, ("size", size), ("multiple", multiple), ("fit", fit));

    public static TrainingException BatchTooSmall(int items) =>
        new("batch_too_small", Invariant($"a batch of {items} items is impossible: use at least 1"), null, ("items", items), ("least", 1));

    public static TrainingException RankImpossible(int rank, int processes) =>
        new("rank_impossible", Invariant($"rank {rank} of {processes} processes is impossible: ranks are 0 to {Math.Max(0, processes - 1)}"), null,
            ("rank", rank), ("processes", processes));

    // Annotation files.

    public static TrainingException NoFileNamed() => new("no_annotations", "no annotation file is named: give at least one");

    public static TrainingException AnnotationsMissing(string file, Exception inner) =>
        new("annotations_missing", $"{file} does not exist: name an annotation file, JSON lines such as {Example}", inner, ("file", file));

    public static TrainingException AnnotationsEmpty(string file) =>
        new("annotations_empty", $"{file} is empty: write one JSON object on each line, such as {Example}", null, ("file", file));

    public static TrainingException FolderWithoutMedia(string folder) =>
        new("folder_without_media", $"{folder} holds no videos and no pictures: put some there, each with its text beside it, such as clip.mp4 and clip.txt, or name an annotation file", null,
            ("folder", folder));

    public static TrainingException AnnotationsUnreadable(string file, Exception inner) =>
        new("annotations_unreadable", $"cannot read {file}: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    /// <summary>The error for a data set with a line that cannot be used.</summary>
    /// <param name="file">The annotation file.</param>
    /// <param name="line">The first such line.</param>
    /// <param name="inner">What is wrong with it.</param>
    /// <param name="more">Number of other malformed lines.</param>
    /// <param name="item">The video, image or latents of the line, if they are known.</param>
    public static TrainingException LineInvalid(string file, int line, PyramidFlowException inner, int more = 0, string? item = null) =>
        new("line_invalid", Invariant($"{Item(file, line, inner.Message, item)}{(more > 0 ? Invariant($" (and {more} more lines are malformed: data check lists them)") : "")}"), inner,
            ("file", file), ("line", line), ("reason", inner.Message));

    /// <summary>The sentence about an item.</summary>
    /// <param name="file">The annotation file, or the folder or shard of the item.</param>
    /// <param name="line">The line, or the number of the item.</param>
    /// <param name="reason">What is wrong with it.</param>
    /// <param name="item">Its video, image or latents, if it is known; the name of a member begins with that of its shard.</param>
    public static string Item(string file, int line, string reason, string? item = null)
    {
        if (item is not null && Directory.Exists(file))
            return $"{Path.Combine(file, Path.GetFileName(item))}: {reason}";
        if (item is null || !(item == file || item.StartsWith(file + '/', StringComparison.Ordinal)))
            return Invariant($"{file}, line {line}: {reason}");
        return reason.Contains(item, StringComparison.Ordinal) ? reason : $"{item}: {reason}";
    }

    // One line of an annotation file. Its number is added where the line is known.

    public static TrainingException LineMalformed(string reason, string? key, Exception inner) => new("line_malformed", reason, inner, ("key", key), ("reason", reason));

    public static TrainingException LineNotObject() => new("line_not_object", $"it is not a JSON object such as {Example}");

    public static TrainingException VideoAndImage() => new("video_and_image", "it has both video and image: give one of them");

    public static TrainingException LineEmpty() => new("line_empty", "it has none of video, image, latent and text");

    public static TrainingException PathEmpty(string key) => new("path_empty", $"{key} is empty", null, ("key", key));

    public static TrainingException NoText(string key) => new("value_not_text", $"{key} is not a text", null, ("key", key));

    public static TrainingException NulInText(string key) => new("value_with_nul", $"{key} holds a NUL character: leave it out", null, ("key", key));

    public static TrainingException NoFrameList() => new("frames_not_list", "frames is not a list of frame numbers such as [0, 2, 4]");

    public static TrainingException NoFrameNumber(string value) =>
        new("frame_number_invalid", $"frames has {value}, which is no frame number: use whole numbers from 0", null, ("value", value));

    // What an item lacks.

    /// <summary>The error for an item without a caption.</summary>
    /// <param name="file">The text file that should have it; null where it belongs into the line.</param>
    public static TrainingException CaptionMissing(string? file) =>
        new("caption_missing", $"it has no text: {(file is null ? "give every item a caption" : $"write its caption to {file}")}", null, ("file", file));

    public static TrainingException CaptionUnreadable(string file, Exception inner)
    {
        var reason = inner is MalformedTextException malformed ? malformed.Reason : inner.Message;
        return new("caption_unreadable", $"its caption {file} cannot be read: {reason}", inner, ("file", file), ("reason", reason));
    }

    public static TrainingException MediaMissing() => new("media_missing", "it has no video or image");

    public static TrainingException NothingToTrainOn() => new("media_missing", "it has none of video, image and latent: there is nothing to train on");

    public static TrainingException LatentMissing() => new("latent_missing", "it has no latent: run extract latents first");

    public static TrainingException FeaturesMissing() => new("features_missing", "it has no text_fea: run extract text first");

    // Media of an item.

    public static TrainingException FileMissing(string file) => Directory.Exists(file)
        ? new("file_is_folder", $"{file} is a folder, not a file", null, ("file", file))
        : new("file_missing", $"{file} does not exist", null, ("file", file));

    public static TrainingException FileChanged(string file) =>
        new("file_changed", $"{file} was changed or replaced after the run began, and is left out: the same command again, once the run has ended, takes it as it is then", null, ("file", file));

    public static TrainingException NoDuration(string file) =>
        new("no_duration", $"{file} states no duration, or has no frames: rewrite it with ffmpeg -i, or remove it", null, ("file", file));

    public static TrainingException VideoTooShort(string file, int frames, double? rate, double seconds, int shortest) =>
        new("video_too_short", Invariant(
            $"{file} has {frames} frames{(rate is { } fps ? Invariant($" at {fps} frames per second") : "")} ({seconds:0.##} s), fewer than the shortest clip, {shortest}"), null,
            ("file", file), ("frames", frames), ("shortest", shortest));

    public static TrainingException PictureTooSmall(string file, string size, double enlarged, string bucket, double most) =>
        new("picture_too_small", Invariant($"{file} has {size} pixels, which would be enlarged {enlarged:0.#} times to {bucket}; at most {most:0.#} is allowed"), null,
            ("file", file), ("size", size), ("bucket", bucket), ("enlarged", enlarged), ("most", most));

    public static TrainingException FramesBeyondEnd(string file, int last, long count) =>
        new("frames_beyond_end", Invariant($"\"frames\" names frame {last} and {file} has {count}, numbered from 0: correct the line"), null, ("file", file), ("last", last), ("count", count));

    public static TrainingException FramesMissing(string file, int found, int promised) =>
        new("frames_fewer_than_stated", Invariant($"{file} has only {found} of the {promised} frames that its header states"), null,
            ("file", file), ("found", found), ("promised", promised));

    /// <summary>What a decoder says about a picture that it could read.</summary>
    /// <param name="warning">Its sentence.</param>
    public static TrainingException PictureWarning(string warning) => new("picture_warning", warning, null, ("reason", warning));

    // Latents of an item.

    public static TrainingException NoTensorFile(string file) => new("no_tensor_file", $"{file} holds no tensors: use .safetensors or .pt", null, ("file", file));

    /// <summary>The error for a file with NaN or infinities.</summary>
    /// <param name="file">The file.</param>
    /// <param name="isExtracted">Whether an extraction wrote it.</param>
    public static TrainingException NumbersNotFinite(string file, bool isExtracted) =>
        new("numbers_not_finite", $"{file} holds numbers that are not finite: "
            + (isExtracted ? "extract it again: the command replaces damaged files" : "it was not extracted here: create it again, or remove the item"), null,
            ("file", file), ("extracted", isExtracted));

    public static TrainingException LatentChannels(string file, long channels, int expected) =>
        new("latent_channels_differ", Invariant($"{file} holds latents of {channels} channels, not {expected}: they come from another VAE"), null,
            ("file", file), ("channels", channels), ("expected", expected));

    public static TrainingException LatentOfOtherVae(string file) =>
        new("latent_of_other_vae", $"{file} comes from another VAE than that of the model: run extract latents with the model that the training begins with", null, ("file", file));

    public static TrainingException FeaturesOfOtherModel(string file) =>
        new("features_of_other_model", $"{file} comes from other text encoders than those of the model: run extract text with the model that the training begins with", null, ("file", file));

    public static TrainingException LatentSize(string file, int width, int height)
    {
        var size = Invariant($"{width}x{height}");
        return new("latent_size_unknown", $"{file} holds latents of {size} pixels, which is none of the sizes: extract them again, or add the size", null,
            ("file", file), ("size", size));
    }

    public static TrainingException LatentTooShort(string file, int frames, int shortest) =>
        new("latent_too_short", Invariant($"{file} holds latents of {frames} frames, fewer than the shortest clip, {shortest}"), null,
            ("file", file), ("frames", frames), ("shortest", shortest));

    public static TrainingException LatentChanged(string file, long frames, int expected) =>
        new("latent_changed", Invariant($"{file} holds {frames} latent frames now, not {expected}"), null, ("file", file), ("frames", frames), ("expected", expected));

    public static TrainingException LatentNormalised(string file) =>
        new("latent_normalised", $"{file} holds latents that were shifted and scaled for a transformer: make them with extract latents", null, ("file", file));

    public static TrainingException LatentKeyMissing(string file, int tensors, string key) =>
        new("latent_key_missing", Invariant($"{file} holds {tensors} tensors and none is called {key}"), null, ("file", file), ("tensors", tensors), ("key", key));

    public static TrainingException LatentNotFloating(string file, ElementType type) =>
        new("latent_not_floating", $"{file} holds latents of {type}: they are floating-point numbers", null, ("file", file), ("type", type));

    public static TrainingException LatentShape(string file, long[] shape) =>
        new("latent_shape", $"{file} holds a tensor of {Shown(shape)}: latents of an item are [1, channels, frames, height, width]", null,
            ("file", file), ("shape", Shown(shape)));

    // Text features of an item.

    public static TrainingException FeaturesLack(string file, string key) => Features("features_lack", file, $"it has no {key}", ("key", key));

    public static TrainingException FeaturesShape(string file, string key, long[] shape, string expected) =>
        Features("features_shape", file, $"{key} is {Shown(shape)}, not {expected}", ("key", key), ("shape", Shown(shape)));

    public static TrainingException FeaturesMask(string file, string key) => Features("features_mask", file, $"{key} is not ones followed by zeros", ("key", key));

    public static TrainingException FeaturesMaskTooLong(string file, int length, string key, long tokens) =>
        Features("features_mask_too_long", file, Invariant($"its mask has {length} tokens, {key} only {tokens}"), ("key", key), ("length", length), ("tokens", tokens));

    public static TrainingException FeaturesOfTwoModels() =>
        new("features_of_two_models", "the text features of a batch come from different models: run extract text again for all items");

    // Data sets.

    /// <summary>The error for missing files.</summary>
    /// <param name="first">The sentence about the first item.</param>
    /// <param name="count">Number of missing files.</param>
    /// <param name="inner">What is wrong with the first item.</param>
    public static TrainingException FilesMissing(string first, int count, PyramidFlowException inner) =>
        new("files_missing", Invariant(
            $"{first}{(count > 1 ? Invariant($" (and {count - 1} more files are missing)") : "")}; fix the paths, or set skip_missing to skip these items"), inner,
            ("file", inner.Parameters.GetValueOrDefault("file")), ("count", count));

    /// <summary>The error for a data set of which nearly nothing can be used.</summary>
    /// <param name="bad">Number of unusable items.</param>
    /// <param name="items">Number of all items.</param>
    /// <param name="first">The sentence about the first of them.</param>
    /// <param name="inner">What is wrong with it.</param>
    public static TrainingException TooManyBad(int bad, int items, string first, PyramidFlowException inner) =>
        new("too_many_bad_items", Invariant($"{bad} of {items} items cannot be used, such as {first}: {ListThem}"), inner, ("bad", bad), ("items", items));

    public static TrainingException TooManyBadOfBucket(int bad, int items, string bucket, string last, PyramidFlowException inner) =>
        new("too_many_bad_items", Invariant($"{bad} of the {items} items of {bucket} cannot be used, the last because {last}: {ListThem}"), inner,
            ("bad", bad), ("items", items), ("bucket", bucket));

    public static TrainingException NoneUsable(string first, PyramidFlowException inner) =>
        new("no_item_usable", $"none of the items could be used, such as {first}", inner);

    public static TrainingException NoItem() => new("no_item", "there is no item to train on: run data check");

    public static TrainingException HeldOutAll(int count, int items) =>
        new("held_out_all", Invariant($"held_out {count} leaves none of the {items} items to train on: hold out fewer"), null, ("held_out", count), ("items", items));

    // Extraction.

    /// <summary>Reason of latents that overflow in their files.</summary>
    public static string LatentsOverflow(ElementType type) => $"the latents have numbers too large for {type}: store them in another type";

    /// <summary>Reason of features that overflow in their files.</summary>
    public static string FeaturesOverflow(ElementType type) => $"the features have numbers too large for {type}: store them in another type";

    public static TrainingException WindowNotMultiple(int frames, int multiple) =>
        new("window_not_multiple", Invariant($"a window of {frames} frames is not a multiple of {multiple}"), null, ("frames", frames), ("multiple", multiple));

    public static TrainingException FramesNotEncodable(int frames, int below, int above) =>
        new("frames_not_whole", Invariant($"{frames} frames cannot be encoded: use {below} or {above}"), null,
            ("frames", frames), ("below", below), ("above", above));

    public static TrainingException PartImpossible(int part, int parts)
    {
        var most = Math.Max(1, parts);
        return new("part_impossible", Invariant($"part {part} of {parts} is impossible: use 1/{most} to {most}/{most}"), null, ("part", part), ("parts", parts));
    }

    public static TrainingException FolderNotMade(string folder, Exception inner) =>
        new("folder_not_made", $"the folder {folder} cannot be made: name another ({inner.Message})", inner, ("folder", folder), ("reason", inner.Message));

    public static TrainingException LeftOutNotWritten(string file, Exception inner) =>
        new("left_out_not_written", $"the list of the items that were left out cannot be written to {file}: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    public static TrainingException AnnotationsNotWritten(string file, Exception inner) =>
        new("annotations_not_written", $"cannot write {file}: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    public static TrainingException NothingToExtract(string file) => new("no_captions", $"{file} has no captions: give its lines a text", null, ("file", file));

    private static TrainingException Features(string code, string file, string reason, params ReadOnlySpan<(string Name, object? Value)> parameters) =>
        new(code, $"{file} holds no text features: {reason}", null, [("file", file), .. parameters]);

    private static string Shown(long[] shape) => $"[{string.Join(", ", shape)}]";
}
