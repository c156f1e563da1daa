using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Prompt encoder of the MMDiT (SD3) family: T5 tokens, and the concatenated projected features of two CLIP models.</summary>
internal sealed class Sd3PromptEncoder : PromptEncoder
{
    private readonly ClipTokenizer[] clipTokenizers;
    private readonly ClipTextModelWithProjection[] clips;
    private readonly T5Tokenizer t5Tokenizer;
    private readonly T5Encoder t5;

    /// <summary>Creates the encoder from tokenizers and models; takes ownership of the models.</summary>
    /// <param name="first">Tokenizer and model of CLIP-L.</param>
    /// <param name="second">Tokenizer and model of CLIP-G.</param>
    /// <param name="t5Tokenizer">Tokenizer of T5.</param>
    /// <param name="t5">The T5 encoder.</param>
    /// <exception cref="ArgumentException">A tokenizer has more tokens than its model.</exception>
    public Sd3PromptEncoder((ClipTokenizer Tokenizer, ClipTextModelWithProjection Model) first,
        (ClipTokenizer Tokenizer, ClipTextModelWithProjection Model) second, T5Tokenizer t5Tokenizer, T5Encoder t5)
    {
        RequireRows("CLIP-L", first.Model.Config.VocabSize, first.Tokenizer.VocabularySize);
        RequireRows("CLIP-G", second.Model.Config.VocabSize, second.Tokenizer.VocabularySize);
        RequireRows("T5", t5.Config.VocabSize, t5Tokenizer.VocabularySize);
        clipTokenizers = [first.Tokenizer, second.Tokenizer];
        clips = [first.Model, second.Model];
        (this.t5Tokenizer, this.t5) = (t5Tokenizer, t5);
    }

    /// <inheritdoc/>
    public override long TokenWidth => t5.Config.DModel;

    /// <inheritdoc/>
    public override long PooledWidth => clips.Sum(clip => clip.Config.ProjectionDim!.Value);

    /// <inheritdoc/>
    public override IReadOnlyList<Module> Models => [.. clips, t5];

    /// <inheritdoc/>
    public override PromptFeatures Encode(IReadOnlyList<string> prompts)
    {
        using var scope = new TensorScope();
        var clipBatches = clips.Zip(clipTokenizers, (clip, tokenizer) => TextBatch.Tokenize(prompts,
            text => tokenizer.Encode(text, clip.Config.MaxPositionEmbeddings, pad: false), tokenizer.PadId, "CLIP")).ToArray();
        var t5Batch = TextBatch.Tokenize(prompts, text => t5Tokenizer.Encode(text, MaxTokens, pad: false), t5Tokenizer.PadId, "T5");
        var features = EncodeIds(clips, [.. clipBatches.Select(batch => batch.Ids)], t5, t5Batch.Ids, t5Batch.Lengths);
        var warnings = t5Batch.Warnings.Concat(clipBatches.SelectMany(batch => batch.Warnings)).Distinct().ToList();
        return (features with { Warnings = warnings }).KeepFrom(scope);
    }

    /// <summary>Encodes token ids.</summary>
    /// <param name="clips">Models of the pooled features, which are concatenated in this order.</param>
    /// <param name="clipIds">For each CLIP int64 [b, m]; ids after the end token have no effect.</param>
    /// <param name="t5">Encodes the tokens.</param>
    /// <param name="t5Ids">Int64 [b, n], padded after each row's length.</param>
    /// <param name="lengths">Number of T5 tokens of each row.</param>
    public static PromptFeatures EncodeIds(IReadOnlyList<ClipTextModelWithProjection> clips, IReadOnlyList<Tensor> clipIds,
        T5Encoder t5, Tensor t5Ids, int[] lengths)
    {
        using var scope = new TensorScope();
        var pooled = Tensor.Cat([.. clips.Zip(clipIds, (clip, ids) => clip.Forward(ids.To(clip.Device)).Pooled)], dim: -1); // [b, p1 + p2]
        var tokens = t5.Forward(t5Ids.To(t5.Device), lengths);     // [b, n, d]
        return new PromptFeatures(tokens, lengths, pooled, []).KeepFrom(scope);
    }
}
