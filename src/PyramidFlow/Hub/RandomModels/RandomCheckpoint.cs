using System.Text.Json;
using PyramidFlow.Models.Text;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Hub.RandomModels;

/// <summary>
/// Writes checkpoints in the released layout with random weights: for tests, and to see whether a model of real size runs on a
/// machine before it is downloaded. No model is ever held in memory. The tokenizers know few words and spell the others.
/// </summary>
public static class RandomCheckpoint
{
    private static readonly string[] Words =
    [
        "a", "an", "the", "of", "in", "on", "at", "and", "with", "over", "under", "to", "from", "is", "are",
        "red", "green", "blue", "white", "black", "small", "large", "man", "woman", "cat", "dog", "bird", "ball", "tree", "house", "sea", "sky",
        "moves", "moving", "running", "walking", "falling", "left", "right", "up", "down", "background", "quality", "ultra",
    ];

    /// <summary>Writes a checkpoint folder.</summary>
    /// <param name="folder">A new or empty folder; it appears when it is whole.</param>
    /// <param name="options">What to write.</param>
    /// <param name="progress">Told after every few megabytes, from any thread.</param>
    /// <param name="cancel">Stops within a few megabytes; nothing is left then.</param>
    /// <exception cref="CheckpointException">The folder holds something, or its disk is too small.</exception>
    public static void Write(string folder, RandomOptions options, IProgress<WorkProgress>? progress = null, CancellationToken cancel = default)
    {
        var family = options.Layout == RandomLayout.Sd3 ? ModelFamily.Mmdit : ModelFamily.Flux;
        var text = family.TextComponents();
        using var target = NewFolder.Begin(folder, 0);
        foreach (var (tokenizer, _) in text.SkipLast(1))
            WordTokenizerFiles.WriteClip(Path.Combine(target.Path, tokenizer), Words);
        WordTokenizerFiles.WriteT5(Path.Combine(target.Path, text[^1].Tokenizer), Words);
        var clipRows = ClipTokenizer.Load(Path.Combine(target.Path, text[0].Tokenizer)).VocabularySize;
        var t5Rows = T5Tokenizer.Load(Path.Combine(target.Path, text[^1].Tokenizer)).VocabularySize;
        var sizes = RandomSizes.Of(options.Layout, options.Scale, clipRows, t5Rows);
        var parts = Parts(sizes, family, options.Scale);
        var total = parts.Sum(part => part.Bytes);
        if (DiskSpace.Shortage(folder, total) is { } shortage)
            throw new CheckpointException(shortage);

        long written = 0;
        var weights = new RandomWeights(options.Seed, (part, bytes) => progress?.Report(new WorkProgress(part, Interlocked.Add(ref written, bytes), total)), cancel);
        foreach (var part in parts)
            part.Write(target.Path, weights);
        sizes.Settings?.Write(Path.Combine(target.Path, PipelineSettings.FileName));
        target.Complete();
    }

    internal static List<RandomPart> Parts(RandomSizes sizes, ModelFamily family, RandomScale scale)
    {
        var text = family.TextComponents();
        var isFlux = family == ModelFamily.Flux;
        var parts = new List<RandomPart>
        {
            new(sizes.TransformerFolder, sizes.Transformer.ClassName, sizes.Transformer.ToJson(), sizes.Transformer.Build()),
            new(CheckpointNames.Vae, CausalVideoVaeConfig.ClassName, sizes.Vae.ToJson(), new CausalVideoVae(sizes.Vae)),
        };
        foreach (var (config, i) in sizes.Clips.Select((config, i) => (config, i)))
        {
            parts.Add(new RandomPart(text[i].TextEncoder, isFlux ? "CLIPTextModel" : "CLIPTextModelWithProjection",
                JsonSerializer.Serialize(config, TextEncoderJson.Default.ClipTextConfig),
                isFlux ? new ClipTextModel(config) : new ClipTextModelWithProjection(config)));
        }

        var t5 = new RandomPart(text[^1].TextEncoder, "T5EncoderModel",
            JsonSerializer.Serialize(sizes.T5, TextEncoderJson.Default.T5EncoderConfig), new T5Encoder(sizes.T5));
        // The released encoder is in two files; a small one is cut too, so that tests read shards.
        parts.Add(scale == RandomScale.Tiny ? t5 with { ShardBytes = t5.Bytes * 3 / 4 } : t5);
        return parts;
    }
}
