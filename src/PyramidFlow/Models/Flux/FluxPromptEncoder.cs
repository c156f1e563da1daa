using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Prompt encoder of the FLUX family: T5 tokens, and the pooled feature of one CLIP model.</summary>
internal sealed class FluxPromptEncoder : PromptEncoder
{
    private readonly ClipTokenizer clipTokenizer;
    private readonly ClipTextModel clip;
    private readonly T5Tokenizer t5Tokenizer;
    private readonly T5Encoder t5;

    /// <summary>Creates the encoder from tokenizers and models; takes ownership of the models.</summary>
    /// <exception cref="ArgumentException">A tokenizer has more tokens than its model.</exception>
    public FluxPromptEncoder(ClipTokenizer clipTokenizer, ClipTextModel clip, T5Tokenizer t5Tokenizer, T5Encoder t5)
    {
        RequireRows("CLIP", clip.Config.VocabSize, clipTokenizer.VocabularySize);
        RequireRows("T5", t5.Config.VocabSize, t5Tokenizer.VocabularySize);
        (this.clipTokenizer, this.clip, this.t5Tokenizer, this.t5) = (clipTokenizer, clip, t5Tokenizer, t5);
    }

    /// <inheritdoc/>
    public override long TokenWidth => t5.Config.DModel;

    /// <inheritdoc/>
    public override long PooledWidth => clip.Config.HiddenSize;

    /// <inheritdoc/>
    public override IReadOnlyList<Module> Models => [clip, t5];

    /// <inheritdoc/>
    public override PromptFeatures Encode(IReadOnlyList<string> prompts)
    {
        using var scope = new TensorScope();
        var clipBatch = TextBatch.Tokenize(prompts,
            text => clipTokenizer.Encode(text, clip.Config.MaxPositionEmbeddings, pad: false), clipTokenizer.PadId, "CLIP");
        var t5Batch = TextBatch.Tokenize(prompts, text => t5Tokenizer.Encode(text, MaxTokens, pad: false), t5Tokenizer.PadId, "T5");
        var features = EncodeIds(clip, clipBatch.Ids, t5, t5Batch.Ids, t5Batch.Lengths);
        return (features with { Warnings = [.. t5Batch.Warnings, .. clipBatch.Warnings] }).KeepFrom(scope);
    }

    /// <summary>Encodes token ids.</summary>
    /// <param name="clip">Encodes the pooled feature.</param>
    /// <param name="clipIds">Int64 [b, m] on any device; ids after the end token have no effect.</param>
    /// <param name="t5">Encodes the tokens.</param>
    /// <param name="t5Ids">Int64 [b, n], padded after each row's length.</param>
    /// <param name="lengths">Number of T5 tokens of each row.</param>
    public static PromptFeatures EncodeIds(ClipTextModel clip, Tensor clipIds, T5Encoder t5, Tensor t5Ids, int[] lengths)
    {
        using var scope = new TensorScope();
        var pooled = clip.Forward(clipIds.To(clip.Device)).Pooled;            // [b, pooled]
        var tokens = t5.Forward(t5Ids.To(t5.Device), lengths);     // [b, n, d]
        return new PromptFeatures(tokens, lengths, pooled, []).KeepFrom(scope);
    }
}
