using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>
/// Extracts the text features of a data set: one file per distinct caption, and an annotation file that names them as
/// <c>text_fea</c>. Finished files are kept. The features of the empty caption are written as <see cref="EmptyName"/> for training
/// without a prompt.
/// </summary>
/// <param name="encoder">Text encoders of either family.</param>
/// <param name="storedType">Element type of the files.</param>
/// <param name="batchSize">Number of captions to encode together, at least 1.</param>
/// <param name="faults">Records lines without a caption; they are left out of the new annotation file.</param>
public sealed class TextExtraction(PromptEncoder encoder, ElementType storedType, int batchSize, FaultLog faults)
{
    /// <summary>File of the empty caption, in the same folder.</summary>
    public const string EmptyName = "empty.safetensors";

    /// <summary>Identity of the text encoders (<see cref="SourceModel"/>), which the files hold; null writes none.</summary>
    internal string? Encoder { get; init; }

    /// <summary>Runs the extraction.</summary>
    /// <param name="target">Input and output.</param>
    /// <param name="progress">Reports every batch; null reports nothing.</param>
    /// <param name="cancellationToken">Stops between batches; finished files are kept.</param>
    /// <exception cref="TrainingException">The annotations are invalid, or no line has a caption.</exception>
    /// <exception cref="NonFiniteException">The text encoders returned non-finite numbers; finished files are kept.</exception>
    public ExtractionResult Run(ExtractionTarget target, IProgress<ExtractionProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        Check(target);
        var annotations = AnnotationSource.ReadGoodAsync(target.Annotations, faults, null, cancellationToken).GetAwaiter().GetResult();
        var mine = annotations.Where((_, i) => target.Has(i)).ToList();
        foreach (var line in mine.Where(line => line.Text is null))
            faults.Add(new DataFault(line.File, line.Line, DataFaultKind.NoCaption, TrainingFault.CaptionMissing(line.CaptionFile)) { Item = line.Media ?? line.Latent });
        var captioned = mine.Where(line => line.Text is not null).ToList();
        if (captioned.Count == 0 && mine.Count > 0)
            throw TrainingFault.NothingToExtract(target.Annotations);

        var folder = target.MakeFolder("text");
        var model = Fingerprint.Compute(encoder.Models);
        var files = captioned.Select(line => line.Text!).Append("").Distinct()
            .ToDictionary(text => text, text => (Path: Path.Combine(folder, FileName(text)), MadeFrom: Fingerprint.Compute(text, model, storedType.ToString())));
        // Captions of similar length need the least padding.
        var open = files.Where(file => !Provenance.IsFinished(file.Value.Path, file.Value.MadeFrom, path => TextItemFile.Read(path))).OrderBy(file => file.Key.Length).ToList();
        var (done, warnings) = (0, new List<string>());
        foreach (var batch in open.Chunk(batchSize))
        {
            cancellationToken.ThrowIfCancellationRequested();
            warnings.AddRange(Encode(batch));
            progress?.Report(new ExtractionProgress("encoding", done += batch.Length, open.Count));
        }

        var lines = target.Parts > 1 ? (int?)null
            : AnnotationRewriter.Write(target.Annotations, annotations, target.Output, "text_fea", captioned.ToDictionary(line => (line.File, line.Line), line => files[line.Text!].Path));
        return new ExtractionResult(open.Count, files.Count - open.Count, lines, warnings);
    }

    /// <summary>Checks what can be known before the encoders are loaded.</summary>
    /// <exception cref="TrainingException">The part is invalid, or the items are in shards, which no annotation file can name.</exception>
    internal static void Check(ExtractionTarget target)
    {
        target.Check();
        if (ShardAddress.IsShard(target.Annotations))
            throw TrainingFault.TextOfShards(ShardAddress.Shown(target.Annotations));
    }

    private static string FileName(string text) => text.Length == 0 ? EmptyName : $"{Fingerprint.Compute(text)}.safetensors";

    private NonFiniteException NotFinite(PromptFeatures features, string path) => new(ModelPart.Text, $"when {Path.GetFileName(path)} was to be written",
        features.AreFinite() ? TrainingFault.FeaturesOverflow(storedType) : null);

    private IReadOnlyList<string> Encode(KeyValuePair<string, (string Path, string MadeFrom)>[] batch)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var features = encoder.Encode([.. batch.Select(file => file.Key)]);
        for (var row = 0; row < batch.Length; row++)
        {
            var (path, madeFrom) = batch[row].Value;
            var tokens = features.Tokens.Narrow(0, row, 1).Narrow(1, 0, features.Lengths[row]);        // [1, length, width]
            var (words, pooled) = (tokens.To(storedType), features.Pooled.Narrow(0, row, 1).To(storedType));
            if (!words.AllFinite() || !pooled.AllFinite())
                throw NotFinite(features, path);
            TextItemFile.Write(path, words, pooled, Provenance.Metadata(madeFrom, Encoder));
        }

        return features.Warnings;
    }
}
