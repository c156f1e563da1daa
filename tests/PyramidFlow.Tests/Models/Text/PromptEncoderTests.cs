using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models.Text;

public sealed class PromptEncoderTests
{
    private static readonly string Long = string.Join(' ', Enumerable.Repeat("a cat sitting on a table", 40));

    [Fact]
    public void A_prompt_alone_and_in_a_batch_gives_the_same_features()
    {
        using var scope = new TensorScope();
        using var encoder = Flux();
        var alone = encoder.Encode(["a cat"]);
        var batch = encoder.Encode(["a cat sitting on a table, and more", "a cat", ""]);
        var n = alone.Lengths[0];
        Assert.Equal(n, batch.Lengths[1]);
        Assert.Equal([1, n, encoder.TokenWidth], alone.Tokens.Shape);
        Assert.Equal([3, encoder.PooledWidth], batch.Pooled.Shape);
        AssertSame(alone.Tokens.Select(0, 0), batch.Tokens.Select(0, 1).Narrow(0, 0, n));
        AssertSame(alone.Pooled.Select(0, 0), batch.Pooled.Select(0, 1));
        Assert.Empty(batch.Warnings);
    }

    [Fact]
    public void The_empty_prompt_is_the_end_token_alone()
    {
        using var scope = new TensorScope();
        using var encoder = Flux();
        Assert.Equal([1], encoder.Encode([""]).Lengths);
    }

    [Fact]
    public void A_prompt_that_is_cut_says_so_for_each_reader()
    {
        using var scope = new TensorScope();
        using var encoder = Flux();
        var features = encoder.Encode([Long, "a cat"]);
        Assert.Equal(PromptEncoder.MaxTokens, features.Lengths[0]);
        Assert.Collection(features.Warnings,
            w => Assert.Matches("^the prompt \"a cat sitting.*\" has [0-9]+ tokens and T5 reads only the first 128", w),
            w => Assert.Matches("^the prompt \"a cat sitting.*\" has [0-9]+ tokens and CLIP reads only the first 20", w));
    }

    [Fact]
    public void Sd3_puts_both_clips_side_by_side_and_pads_each_its_own_way()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(4);
        var config = ClipConfig() with { ProjectionDim = 24 };
        var (first, second) = (new ClipTextModelWithProjection(config), new ClipTextModelWithProjection(config with { ProjectionDim = 28 }));
        first.Initialize(generator);
        second.Initialize(generator);
        using var encoder = new Sd3PromptEncoder((Clip("clip"), first), (Clip("clip_pad_bang"), second), T5(), T5Model());
        var alone = encoder.Encode(["a cat"]);
        var batch = encoder.Encode(["a cat sitting on a table", "a cat"]);
        Assert.Equal(52, encoder.PooledWidth);
        Assert.Equal([2, 52], batch.Pooled.Shape);
        AssertSame(alone.Pooled.Select(0, 0), batch.Pooled.Select(0, 1));
        Assert.Equal(2, encoder.Encode([Long]).Warnings.Count);
    }

    [Fact]
    public void A_tokenizer_of_another_checkpoint_is_refused()
    {
        using var small = TextEncoderTests.SmallT5();
        using var clip = new ClipTextModel(ClipConfig());
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => new FluxPromptEncoder(Clip("clip"), clip, T5(), small)), "tokenizer_of_other_model", ("model", "T5"), ("rows", 60L));
    }

    [Fact]
    public void No_prompt_at_all_is_refused()
    {
        using var encoder = Flux();
        Assert.Throws<ArgumentException>(() => encoder.Encode([]));
    }

    [Fact]
    public void Encoding_leaves_only_the_features_behind()
    {
        using var encoder = Flux();
        var before = Tensor.LiveCount;
        var features = encoder.Encode(["a cat", "a"]);
        Assert.Equal(before + 2, Tensor.LiveCount);
        features.Tokens.Dispose();
        features.Pooled.Dispose();
    }

    private static FluxPromptEncoder Flux()
    {
        using var generator = new RandomGenerator(3);
        var clip = new ClipTextModel(ClipConfig());
        clip.Initialize(generator);
        return new FluxPromptEncoder(Clip("clip"), clip, T5(), T5Model());
    }

    private static T5Encoder T5Model()
    {
        using var generator = new RandomGenerator(5);
        var model = new T5Encoder(new T5EncoderConfig(T5().VocabularySize, 32, 8, 48, 2, 4, FeedForwardProj: "gated-gelu"));
        model.Initialize(generator);
        return model;
    }

    private static ClipTextConfig ClipConfig() => new(Clip("clip").VocabularySize, 32, 64, 2, 4, 20, 2);

    private static ClipTokenizer Clip(string name) => ClipTokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", name));

    private static T5Tokenizer T5() => T5Tokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "t5"));

    private static void AssertSame(Tensor expected, Tensor actual) =>
        GoldenTensors.AssertClose(expected, actual, 1e-5, 1e-5, "features");
}
