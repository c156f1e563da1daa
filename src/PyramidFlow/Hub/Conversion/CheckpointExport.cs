using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Hub.Conversion;

/// <summary>
/// Writes a checkpoint in the released layout from trained models, whose weights get another type, and from models and tokenizers of a checkpoint, which are copied as they
/// are or linked. One tensor at a time is in memory.
/// </summary>
internal static class CheckpointExport
{
    /// <summary>Writes a checkpoint with models of runs in place of its own.</summary>
    /// <param name="checkpoint">The checkpoint, from <see cref="CheckpointFolder.With"/>.</param>
    /// <param name="variant">The transformer to write; null writes the one that is of a run, and all where none is.</param>
    /// <param name="target">A new or empty folder; it appears when it is complete.</param>
    /// <param name="options">Type of the weights of runs, and whether the others are linked.</param>
    /// <param name="progress">Reports progress after each tensor and copied file; null reports nothing.</param>
    /// <param name="cancellationToken">Stops after the current tensor and removes the target.</param>
    /// <exception cref="CheckpointException">A part is missing or damaged, or the target cannot be written.</exception>
    public static void Write(CheckpointFolder checkpoint, string? variant, string target, ExportOptions options,
        IProgress<WorkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        var all = checkpoint.Variants.Select(name => checkpoint.Transformer(name)).ToList();
        var transformers = variant is not null ? [checkpoint.Transformer(variant)]
            : all.Exists(each => checkpoint.IsReplaced(each.Name)) ? all.FindAll(each => checkpoint.IsReplaced(each.Name))
            : all;
        var others = checkpoint.Family.TextComponents.SelectMany(text => (string[])[text.TextEncoder, text.Tokenizer]).Select(checkpoint.Component);
        var parts = transformers.Append(checkpoint.Vae).Concat(others).ToLookup(part => checkpoint.IsReplaced(part.Name));
        Write(target, [.. parts[true].Select(part => new ConversionPart(part.Name, part.OpenWeights(), part.ConfigFile))], [.. parts[false]],
            checkpoint.SettingsFile, options, progress, cancellationToken);
    }

    /// <summary>Writes a checkpoint from parts.</summary>
    /// <param name="target">A new or empty folder; it appears when it is complete.</param>
    /// <param name="trained">Trained models; their weights are disposed.</param>
    /// <param name="taken">Models and tokenizers to copy or link.</param>
    /// <param name="settings">The file of the checkpoint's settings; null writes none.</param>
    /// <param name="options">Type of the trained weights, and whether the others are linked.</param>
    /// <param name="progress">Reports progress after each tensor and copied file; null reports nothing.</param>
    /// <param name="cancellationToken">Stops after the current tensor and removes the target.</param>
    /// <exception cref="CheckpointException">A part is damaged, or the target cannot be written.</exception>
    public static void Write(string target, IReadOnlyList<ConversionPart> trained, IReadOnlyList<ComponentFolder> taken, string? settings, ExportOptions options,
        IProgress<WorkProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        try
        {
            // A weights file that is a link out of its folder is refused by readers, a folder that is a link is not.
            var files = (options.Links ? [] : taken).SelectMany(part => Directory.GetFiles(part.Folder).Select(file => (Part: part.Name, File: file))).Where(each => !Path.GetFileName(each.File).StartsWith('.')).ToList();
            var total = trained.Sum(part => part.Declare(options.Type).Sum(tensor => tensor.ByteLength)) + files.Sum(each => new FileInfo(each.File).Length);
            using var folder = NewFolder.Begin(target, total);
            long done = 0;
            foreach (var part in trained)
                part.Write(folder.Path, new ConversionOptions { Type = options.Type }, bytes => Report(part.Folder, bytes), cancellationToken);
            foreach (var part in options.Links ? taken : [])
                Directory.CreateSymbolicLink(Path.Combine(folder.Path, part.Name), Path.GetFullPath(part.Folder));
            foreach (var (part, file) in files)
            {
                cancellationToken.ThrowIfCancellationRequested();
                Directory.CreateDirectory(Path.Combine(folder.Path, part));
                File.Copy(file, Path.Combine(folder.Path, part, Path.GetFileName(file)));
                Report(part, new FileInfo(file).Length);
            }

            if (settings is not null)
                File.Copy(settings, Path.Combine(folder.Path, PipelineSettings.FileName));
            folder.Complete();

            void Report(string part, long bytes) => progress?.Report(new WorkProgress(part, done += bytes, total));
        }
        finally
        {
            foreach (var part in trained)
                part.Source.Dispose();
        }
    }
}

/// <summary>Options of <see cref="CheckpointExport"/>.</summary>
/// <param name="Type">Element type of the trained weights; null keeps float32, which they are trained in.</param>
/// <param name="Links">Whether the folders taken from the checkpoint become symbolic links instead of copies.</param>
internal sealed record ExportOptions(ElementType? Type = ElementType.BFloat16, bool Links = false);
