using static System.FormattableString;

namespace PyramidFlow.Torch;

/// <summary>
/// A file of a checkpoint, a LoRA or a run is missing, damaged, hostile or of another model. <see cref="PyramidFlowException.Parameters"/> names the
/// <c>file</c> or <c>folder</c>, and the <c>key</c> where one is at fault; the message says how to fix it.
/// </summary>
public sealed class CheckpointException : PyramidFlowException
{
    private const int MaxLength = 4000;

    /// <summary>Creates the error.</summary>
    /// <param name="code">Stable name of the cause, such as <c>file_cut_off</c>.</param>
    /// <param name="message">
    /// One sentence for the user, with the name of the file and the fix. Control characters, which may come from the file, become
    /// question marks.
    /// </param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about, as they stand in the file.</param>
    public CheckpointException(string code, string message, Exception? inner = null, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, OneLine(message), inner, parameters)
    {
    }

    /// <summary>Whether a LoRA of a request is at fault, and not the model or a LoRA that it was loaded with.</summary>
    internal bool IsOfRequestedLora { get; set; }

    private static string OneLine(string message) =>
        string.Concat(message.Take(MaxLength).Select(c => char.IsControl(c) ? '?' : c)) + (message.Length > MaxLength ? "..." : "");
}

/// <summary>All errors about checkpoints, LoRAs and files of a run: the only place of their codes and sentences.</summary>
/// <remarks>One class for all projects, which see it as friends of this one. It names their files and formats, and uses none of their types.</remarks>
internal static partial class CheckpointFault
{
    /// <summary>Code of a weight that is infinite or NaN.</summary>
    public const string WeightNotFiniteCode = "weight_not_finite";

    /// <summary>Reason of a safetensors file whose numbers overflow.</summary>
    public const string TooLargeForMemory = "a size in it is larger than any memory";

    private const string Again = "; download or write it again";
    private const string DownloadIt = "; download it again";
    private const string Mend = "take both from one checkpoint, or get it whole with models download";
    private const string NameVae = "name a model folder, a run of train vae, or the folder of a VAE";

    // Files.

    public static CheckpointException Missing(string file, Exception inner) => new("file_missing", $"{file} does not exist", inner, ("file", file));

    public static CheckpointException WeightsIsFolder(string file, Exception inner) =>
        new("file_is_folder", $"{file} is a folder where a weights file is expected", inner, ("file", file));

    public static CheckpointException Unreadable(string file, Exception inner) =>
        new("file_unreadable", $"{file} cannot be read: {inner.Message}", inner, ("file", file), ("reason", inner.Message));

    public static CheckpointException TooShort(string file, long length) =>
        new("file_too_short", $"{file} is damaged: it has only {length} bytes{Again}", null, ("file", file), ("length", length));

    public static CheckpointException LfsPointer(string file) =>
        new("lfs_pointer", $"{file} is only a git-lfs pointer, not the weights: run git lfs pull in that folder", null, ("file", file));

    public static CheckpointException CutOff(string file, long length, long needed) =>
        new("file_cut_off", $"{file} is cut off: it has {length} of {needed} bytes, {needed - length} are missing; download or make it again (models download goes on where it stopped)",
            null, ("file", file), ("length", length), ("needed", needed), ("missing", needed - length));

    // Safetensors files.

    /// <summary>The error for a header that is not JSON, or has a value of the wrong type.</summary>
    /// <param name="file">The file.</param>
    /// <param name="reason">What is wrong, with the key.</param>
    /// <param name="key">The key at fault; null where it is none.</param>
    /// <param name="inner">Error of the reader.</param>
    public static CheckpointException NotSafetensors(string file, string reason, string? key, Exception inner) =>
        new("not_safetensors", $"{file} is not a safetensors file, or it is damaged: {reason}", inner, ("file", file), ("key", key), ("reason", reason));

    public static CheckpointException HeaderTooLong(string file, ulong claimed, long length) =>
        Damaged("header_too_long", file, $"its header claims {claimed} bytes of a file of {length}", ("claimed", claimed), ("length", length));

    public static CheckpointException KeyTwice(string file, string key) => Damaged("key_twice", file, $"it holds the key {key} twice", ("key", key));

    public static CheckpointException TensorIncomplete(string file, string key) =>
        Damaged("tensor_incomplete", file, $"{key} lacks its dtype, shape or data_offsets", ("key", key));

    public static CheckpointException UnknownType(string file, string key, string? type) =>
        new("unknown_element_type", $"{file}: {key} has the element type {type}, which is not known here: convert it to F32, F16 or BF16", null,
            ("file", file), ("key", key), ("type", type));

    public static CheckpointException TooManyDimensions(string file, string key, int dimensions, int most) =>
        Damaged("too_many_dimensions", file, $"{key} has {dimensions} dimensions, more than the {most} that a tensor may have",
            ("key", key), ("dimensions", dimensions), ("most", most));

    public static CheckpointException NotTwoOffsets(string file, string key) =>
        Damaged("not_two_offsets", file, $"{key} does not have two data offsets", ("key", key));

    public static CheckpointException ImpossibleOffsets(string file, string key, long begin, long end) =>
        Damaged("impossible_offsets", file, $"{key} lies at bytes {begin} to {end}", ("key", key), ("begin", begin), ("end", end));

    public static CheckpointException NegativeSize(string file, string key, long size) =>
        Damaged("negative_size", file, $"{key} has the negative size {size}", ("key", key), ("size", size));

    public static CheckpointException SizeDiffers(string file, string key, long[] shape, long bytes) =>
        Damaged("size_differs", file, $"{key} {Shown(shape)} does not fill its {bytes} bytes", ("key", key), ("shape", Shown(shape)), ("bytes", bytes));

    public static CheckpointException TensorsOverlap(string file, string first, string second) =>
        Damaged("tensors_overlap", file, $"{first} and {second} overlap", ("first", first), ("second", second));

    // Zip files of PyTorch.

    public static CheckpointException OldTorchFormat(string file) =>
        new("old_torch_format",
            $"{file} is in PyTorch's format before 1.6, which is not read here: load it in PyTorch and save it again with torch.save, or convert it to safetensors",
            null, ("file", file));

    public static CheckpointException NoZip(string file) =>
        new("not_a_torch_file", $"{file} is not a PyTorch checkpoint: it does not begin like a zip file; download it again", null, ("file", file));

    public static CheckpointException ZipDirectoryMissing(string file) =>
        OfTorch("zip_directory_missing", file, $"it has no zip directory at its end, so it is cut off{Again}");

    public static CheckpointException Zip64RecordOutside(string file) =>
        OfTorch("zip64_record_outside", file, $"its zip64 end record does not lie in the file{Again}");

    public static CheckpointException Zip64RecordMissing(string file) =>
        OfTorch("zip64_record_missing", file, $"its zip64 end record is not where it should be{Again}");

    public static CheckpointException ZipDirectoryOutside(string file, ulong bytes, ulong start, long length) =>
        OfTorch("zip_directory_outside", file, $"its zip directory of {bytes} bytes at {start} does not lie in the file of {length}{Again}",
            ("bytes", bytes), ("start", start), ("length", length));

    public static CheckpointException ZipDirectoryTooLarge(string file, ulong count, ulong bytes) =>
        OfTorch("zip_directory_too_large", file, $"it claims {count} entries in a directory of {bytes} bytes{Again}", ("count", count), ("bytes", bytes));

    public static CheckpointException ZipDirectoryCutOff(string file, long entries, long count) =>
        OfTorch("zip_directory_cut_off", file, $"its zip directory ends after {entries} of {count} entries{Again}", ("entries", entries), ("count", count));

    public static CheckpointException ZipDirectoryCutOffInside(string file, long entry, long count) =>
        OfTorch("zip_directory_cut_off", file, $"its zip directory ends inside entry {entry} of {count}{Again}", ("entries", entry), ("count", count));

    public static CheckpointException EntryEncrypted(string file, string entry) =>
        OfTorch("entry_encrypted", file, $"its entry {entry} is encrypted: save it again with torch.save", ("entry", entry));

    public static CheckpointException EntryCompressed(string file, string entry) =>
        OfTorch("entry_compressed", file, $"its entry {entry} is compressed, which torch.save never does: unpack it and save it again with torch.save", ("entry", entry));

    public static CheckpointException EntryLengthDiffers(string file, string entry, ulong stored, ulong claimed) =>
        OfTorch("entry_length_differs", file, $"its entry {entry} is stored in {stored} bytes but claims {claimed}{Again}",
            ("entry", entry), ("stored", stored), ("claimed", claimed));

    public static CheckpointException EntryTwice(string file, string entry) => OfTorch("entry_twice", file, $"it holds the entry {entry} twice{Again}", ("entry", entry));

    public static CheckpointException EntryOutside(string file, string entry, ulong start, ulong length) =>
        OfTorch("entry_outside", file, $"its entry {entry} begins at byte {start} of {length}{Again}", ("entry", entry), ("start", start), ("length", length));

    public static CheckpointException EntryMisplaced(string file, string entry) =>
        OfTorch("entry_misplaced", file, $"its entry {entry} is not where the zip directory says{Again}", ("entry", entry));

    public static CheckpointException EntryCutOff(string file, string entry, ulong claimed, ulong left) =>
        OfTorch("entry_cut_off", file, $"its entry {entry} claims {claimed} bytes where {left} are left; it may be cut off{Again}",
            ("entry", entry), ("claimed", claimed), ("left", left));

    public static CheckpointException EntryWithoutSize(string file, string entry) =>
        OfTorch("entry_without_size", file, $"its entry {entry} lacks its 64-bit size{Again}", ("entry", entry));

    // Tensors in files of PyTorch.

    public static CheckpointException NotOneTensorList(string file, int count) =>
        OfTorch("not_one_tensor_list", file, $"it holds {count} lists of tensors (data.pkl) where one belongs; save it again with torch.save", ("count", count));

    public static CheckpointException BigEndian(string file) =>
        OfTorch("big_endian", file, "it was written by a big-endian machine: save it again on a little-endian one, or as safetensors");

    public static CheckpointException TorchKeyTwice(string file, string key) => OfTorch("key_twice", file, $"it holds the key {key} twice", ("key", key));

    public static CheckpointException NoNamedTensors(string file) => OfTorch("no_named_tensors", file, "it holds no named tensors: save model.state_dict()");

    public static CheckpointException StorageMissing(string file, string key, string storage) =>
        OfTorch("storage_missing", file, $"{key} lies in storage {storage}, which is not in the file{Again}", ("key", key), ("storage", storage));

    public static CheckpointException StorageTooShort(string file, string key, string storage, long claimed, long bytes) =>
        OfTorch("storage_too_short", file, $"storage {storage} of {key} claims {claimed} elements and has {bytes} bytes{Again}",
            ("key", key), ("storage", storage), ("claimed", claimed), ("bytes", bytes));

    public static CheckpointException NegativeLayout(string file, string key) =>
        OfTorch("negative_layout", file, $"{key} has a negative offset, size or stride{Again}", ("key", key));

    public static CheckpointException TensorOutside(string file, string key, long[] shape, long offset, long elements) =>
        OfTorch("tensor_outside", file, Invariant($"{key} {Shown(shape)} at {offset} does not lie in its storage of {elements} elements{Again}"),
            ("key", key), ("shape", Shown(shape)), ("offset", offset), ("elements", elements));

    public static CheckpointException TensorTooLarge(string file, string key) =>
        OfTorch("tensor_too_large", file, $"{key} has a shape that no memory holds{Again}", ("key", key));

    public static CheckpointException ContainersTooLarge(string file) =>
        OfTorch("containers_too_large", file, "its containers are nested too deeply, too large or contain themselves; save only model.state_dict()");

    public static CheckpointException TensorListTooLong(string file, int bytes, int most) =>
        OfTorch("tensor_list_too_long", file, $"its list of tensors has {bytes} bytes, more than the {most} allowed", ("bytes", bytes), ("most", most));

    public static CheckpointException TensorListDamaged(string file, Exception inner) =>
        new("tensor_list_damaged", NotReadable(file, "its list of tensors is damaged: download or write it again"), inner, ("file", file));

    public static CheckpointException TooManyInstructions(string file, int most) =>
        OfTorch("too_many_instructions", file, $"its list of tensors has more than {most} instructions", ("most", most));

    /// <summary>The error for a checkpoint that asks to run something.</summary>
    /// <param name="file">The file.</param>
    /// <param name="name">Name of the function without characters that a terminal would obey.</param>
    public static CheckpointException RunsCode(string file, string name) =>
        new("runs_code",
            $"{file} asks to run {name}: it is not a plain checkpoint, refused; save only the weights, with torch.save(model.state_dict(), ...) or as safetensors",
            null, ("file", file), ("name", name));

    public static CheckpointException ForeignStorage(string file) =>
        OfTorch("foreign_storage", file, "it refers to something outside itself that is not a storage of tensors: refused");

    public static CheckpointException RefusedInstruction(string file, char instruction) =>
        OfTorch("refused_instruction", file, $"it uses the pickle instruction 0x{(int)instruction:x2}, which plain checkpoints do not need: refused",
            ("instruction", $"0x{(int)instruction:x2}"));

    // Folders of weights, and lists of their shards.

    public static CheckpointException WeightsMissing(string folder) =>
        new("folder_missing", $"{folder} does not exist: download the checkpoint again, this folder is part of it", null, ("folder", folder));

    public static CheckpointException NoWeights(string folder, IEnumerable<string> known) =>
        new("no_weights", $"{folder} holds no weights: it needs one of {string.Join(", ", known)}, or shards with their .index.json", null,
            ("folder", folder), ("known", string.Join(", ", known)));

    public static CheckpointException SeveralWeights(string folder, IEnumerable<string> names, string name) =>
        new("several_weights", $"{folder} holds several weights ({string.Join(", ", names)}): rename the one to use to {name}", null,
            ("folder", folder), ("files", string.Join(", ", names)), ("name", name));

    public static CheckpointException NotWeights(string file, IEnumerable<string> known) =>
        new("not_weights", $"{file} is not a weights file: use {string.Join(", ", known)}, or the folder around it", null,
            ("file", file), ("known", string.Join(", ", known)));

    public static CheckpointException LinkOutside(string file, string target) =>
        new("link_outside", $"{file} is a link to {target}, outside its folder: put the file itself there", null, ("file", file), ("target", target));

    public static CheckpointException LinkLoop(string file) => new("link_loop", $"{file} is a link that leads round in a circle", null, ("file", file));

    public static CheckpointException IndexMalformed(string file, string reason, Exception inner) =>
        new("index_malformed", $"{file}: {reason}{DownloadIt}", inner, ("file", file), ("reason", reason));

    public static CheckpointException IndexWithoutMap(string file) => new("index_without_map", $"{file}: it lacks weight_map{DownloadIt}", null, ("file", file));

    public static CheckpointException IndexEmpty(string file) => new("index_empty", $"{file}: weight_map is empty{DownloadIt}", null, ("file", file));

    public static CheckpointException IndexValueInvalid(string file, string key) =>
        new("index_value_invalid", $"{file}: weight_map.{key} has a value of the wrong kind{DownloadIt}", null, ("file", file), ("key", key));

    public static CheckpointException UnsafeShardName(string file, string name) =>
        new("unsafe_shard_name", $"{file}: weight_map names \"{name}\", which is not a file of this folder", null, ("file", file), ("name", name));

    public static CheckpointException ShardsMissing(string folder, IEnumerable<string> names, string index) =>
        new("shards_missing", $"{folder} lacks {string.Join(", ", names)}, which {index} names: download it", null,
            ("folder", folder), ("files", string.Join(", ", names)), ("index", index));

    public static CheckpointException ShardLacksKey(string shard, string key, string index, int count) =>
        new("shard_lacks_key", $"{shard} lacks {key}, which {index} says it holds ({count} such): download the shards and the index again, from one place", null,
            ("file", shard), ("key", key), ("index", index), ("count", count));

    public static CheckpointException KeyInTwoShards(string shard, string key, string index) =>
        new("key_in_two_shards", $"{shard} holds {key}, which another shard of {index} holds too: download them again, from one place", null,
            ("file", shard), ("key", key), ("index", index));

    // Weights and the model that they are for. A difference is a clause of its own, as several may come together.

    public static string KeyMissing(string key) => $"{key} is missing";

    public static string KeyUnknown(string key) => $"{key} is not part of this model";

    public static string ShapeDiffers(string key, long[] shape, IEnumerable<long> model) => $"{key} is {Shown(shape)} where the model has {Shown(model)}";

    public static string FactorsMissing(string key, string factors) => $"{key} is int8 and its factors {factors} are missing";

    public static string FactorsUnexpected(string key) => $"{key} has factors and is not int8";

    public static string NotFloatingPoint(string key, ElementType type) => $"{key} is of {type} where the model has floating point numbers";

    public static CheckpointException WeightsMisfit(string file, IReadOnlyList<string> differences) =>
        new("weights_misfit", $"{file} does not fit its config: {Shown(differences, 12)}", null, ("file", file), ("differences", Shown(differences, 12)));

    public static CheckpointException WeightsDisagree(string config, string weights, string difference) =>
        new("config_and_weights_disagree", $"{config} and {weights} disagree: {difference}; download both again, from one place", null,
            ("config", config), ("file", weights), ("differences", difference));

    public static CheckpointException WeightsDisagree(string config, string weights, IReadOnlyList<string> differences) =>
        new("config_and_weights_disagree", $"{config} and {weights} disagree: {Shown(differences, 3)}; {Mend}", null,
            ("config", config), ("file", weights), ("differences", Shown(differences, 3)));

    public static CheckpointException WeightNotFinite(string file, string key) =>
        new(WeightNotFiniteCode, $"{file} holds a number that is not finite in {key}: download or convert it again, or take an earlier checkpoint of the training", null,
            ("file", file), ("key", key));

    /// <summary>The error of a weight, told as the reason of a result.</summary>
    /// <param name="weight">The error of <see cref="WeightNotFinite"/>.</param>
    /// <param name="sentence">Sentence about the result, with that about the weight.</param>
    /// <param name="result">The error of the result.</param>
    public static CheckpointException Explaining(CheckpointException weight, string sentence, Exception result) =>
        new(weight.Code, sentence, result, [.. weight.Parameters.Select(pair => (pair.Key, pair.Value))]);
}
