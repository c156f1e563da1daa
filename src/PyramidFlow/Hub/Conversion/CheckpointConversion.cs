using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Conversion;

/// <summary>
/// Converts any readable checkpoint to safetensors in the released layout: a checkpoint folder, the folder of one model, or a file,
/// including files saved by a trainer. One tensor at a time is in memory.
/// </summary>
internal static class CheckpointConversion
{
    /// <summary>Converts a checkpoint.</summary>
    /// <param name="source">Folder or file.</param>
    /// <param name="target">A new or empty folder; it appears when it is complete.</param>
    /// <param name="options">Options; null keeps the element types.</param>
    /// <param name="progress">Receives progress after each tensor.</param>
    /// <param name="cancellationToken">Stops after the current tensor and removes the target.</param>
    /// <returns>Notes for the user, for example that a config is missing.</returns>
    /// <exception cref="CheckpointException">The source cannot be read, or the target cannot be written.</exception>
    public static IReadOnlyList<string> Convert(string source, string target, ConversionOptions? options = null,
        IProgress<WorkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        options ??= new ConversionOptions();
        var notes = new List<string>();
        var parts = new List<ConversionPart>();
        try
        {
            var copied = Collect(source, parts, notes);
            foreach (var part in parts.Where(_ => options.Int8))
                part.ChooseInt8(options, cancellationToken);
            var total = parts.Sum(part => part.Declare(options.Type).Sum(tensor => tensor.ByteLength));
            using var folder = NewFolder.Begin(target, total);
            foreach (var (from, to) in copied)
                Copy(from, Path.Combine(folder.Path, to));
            long done = 0;
            foreach (var part in parts)
            {
                part.Write(folder.Path, options, bytes => progress?.Report(new WorkProgress(part.Folder, done += bytes, total)), cancellationToken);
                if (part.ConfigFile is null)
                    notes.Add($"{Path.Combine(target, part.Folder)} has no {ComponentFolder.ConfigName}: put that of the same model there before you use it");
            }

            folder.Complete();
            return notes;
        }
        finally
        {
            parts.ForEach(part => part.Source.Dispose());
        }
    }

    // Adds the models to parts; returns the files to copy unchanged.
    private static List<(string From, string To)> Collect(string source, List<ConversionPart> parts, List<string> notes)
    {
        if (CheckpointFolder.IsCheckpoint(source))
            return CollectCheckpoint(CheckpointFolder.Open(source), parts, notes);
        var weights = WeightsFile.Open(source);
        var config = Path.Combine(Directory.Exists(source) ? source : Path.GetDirectoryName(Path.GetFullPath(source))!, ComponentFolder.ConfigName);
        var found = TrainingKeys.Find(weights.Keys);
        // Each part owns its source; the first part takes the one that is already open.
        foreach (var (name, _) in found)
        {
            var folder = found.Count == 1 ? "" : name == "dit" ? CheckpointNames.Transformer : CheckpointNames.Vae;
            parts.Add(new ConversionPart(folder, TrainingKeys.Strip(parts.Count == 0 ? weights : WeightsFile.Open(source), name),
                found.Count == 1 && File.Exists(config) ? config : null));
        }

        return [];
    }

    private static List<(string From, string To)> CollectCheckpoint(CheckpointFolder checkpoint, List<ConversionPart> parts, List<string> notes)
    {
        var copied = new List<(string From, string To)>();
        foreach (var folder in (string[])["", .. checkpoint.Variants.Select(CheckpointNames.TransformerOf)])
        {
            var settings = Path.Combine(folder, PipelineSettings.FileName);
            if (File.Exists(Path.Combine(checkpoint.Root, settings)))
                copied.Add((Path.Combine(checkpoint.Root, settings), settings));
        }

        var text = checkpoint.Family.TextComponents;
        var models = checkpoint.Variants.Select(variant => checkpoint.Transformer(variant).Name)
            .Append(CheckpointNames.Vae).Concat(text.Select(part => part.TextEncoder));
        foreach (var name in models.Concat(text.Select(part => part.Tokenizer)))
        {
            if (!Directory.Exists(Path.Combine(checkpoint.Root, name)))
            {
                notes.Add($"{checkpoint.Root} has no {name}: it is left out");
                continue;
            }

            var component = checkpoint.Component(name);
            if (text.Any(part => part.Tokenizer == name))
                copied.AddRange(Directory.GetFiles(component.Folder).Select(file => (file, Path.Combine(name, Path.GetFileName(file)))));
            else
                parts.Add(new ConversionPart(name, TrainingKeys.Strip(component.OpenWeights(), name == CheckpointNames.Vae ? "vae" : "dit"),
                    File.Exists(component.ConfigFile) ? component.ConfigFile : null));
        }

        return copied;
    }

    private static void Copy(string from, string to)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(to)!);
        File.Copy(from, to);
    }
}

/// <summary>Options of <see cref="CheckpointConversion"/>.</summary>
internal sealed record ConversionOptions
{
    /// <summary>Element type of floating point weights; null keeps the type of each weight.</summary>
    public ElementType? Type { get; init; }

    /// <summary>Whether the large matrices of transformer and T5 are quantized to int8 (<see cref="Int8Weight"/>), which takes half the memory of bfloat16.</summary>
    public bool Int8 { get; init; }

    /// <summary>Receives messages about the quantization error; may be null.</summary>
    public Action<string>? Report { get; init; }

    /// <summary>Maximum size of the tensors in one file, bytes.</summary>
    public long ShardBytes { get; init; } = 5_000_000_000;
}
