using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Models.Text;

public sealed class TextEncoderTests
{
    [Fact]
    public void T5_gives_the_same_features_for_padded_and_trimmed_prompts()
    {
        using var scope = new TensorScope();
        using var model = SmallT5();
        var ids = Tensor.From<long>([5, 9, 3, 1, 0, 0, 0]).Unsqueeze(0);
        var mask = Tensor.From<long>([1, 1, 1, 1, 0, 0, 0]).Unsqueeze(0);
        AssertSame(model.Forward(ids.Narrow(1, 0, 4)), model.Forward(ids, mask).Narrow(1, 0, 4));
    }

    [Fact]
    public void Clip_pools_the_same_for_padded_and_trimmed_prompts()
    {
        using var scope = new TensorScope();
        using var model = SmallClip(eos: 2);
        var ids = Tensor.From<long>([60, 9, 3, 63, 63, 63]).Unsqueeze(0);
        AssertSame(model.Forward(ids.Narrow(1, 0, 4)).Pooled, model.Forward(ids).Pooled);
    }

    [Theory]
    [InlineData(2, 3)] // the largest id of the row
    [InlineData(7, 1)] // the first 7
    [InlineData(8, 0)] // there is no 8
    public void Clip_pools_at_the_end_token(long eos, long position)
    {
        using var scope = new TensorScope();
        using var model = SmallClip(eos);
        var (hidden, pooled) = model.Forward(Tensor.From<long>([60, 7, 3, 63, 7, 63]).Unsqueeze(0));
        AssertSame(hidden.Select(1, position), pooled);
    }

    [Fact]
    public void Clip_refuses_more_tokens_than_it_has_positions()
    {
        using var scope = new TensorScope();
        using var model = SmallClip(eos: 2);
        var error = Assert.Throws<ArgumentException>(() => model.Forward(Tensor.Zeros([1, 21], ElementType.Int64)));
        Assert.Contains("21 tokens are too many", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Every_weight_of_t5_gets_a_gradient()
    {
        using var scope = new TensorScope();
        using var model = SmallT5();
        AssertAllTrain(model, () => model.Forward(Tensor.From<long>([5, 9, 3, 1]).Unsqueeze(0)));
    }

    [Fact]
    public void Every_weight_of_clip_gets_a_gradient()
    {
        using var scope = new TensorScope();
        using var model = SmallClip(eos: 2);
        AssertAllTrain(model, () => model.Forward(Tensor.From<long>([60, 9, 3, 63]).Unsqueeze(0)).Pooled);
    }

    [Fact]
    public void Tied_and_obsolete_keys_of_checkpoints_are_ignored()
    {
        using var scope = new TensorScope();
        using var folder = new TemporaryFolder();
        using var t5 = SmallT5();
        using var clip = SmallClip(eos: 2);
        SafetensorsWriter.Write(folder.File("t5.safetensors"),
            [.. t5.NamedParameters().Select(p => (p.Key, p.Parameter.Value)), ("encoder.embed_tokens.weight", Tensor.Zeros([60, 32]))]);
        SafetensorsWriter.Write(folder.File("clip.safetensors"),
            [.. clip.NamedParameters().Select(p => (p.Key, p.Parameter.Value)), ("text_model.embeddings.position_ids", Tensor.Zeros([1, 20]))]);
        using var sourceT5 = SafetensorsFile.Open(folder.File("t5.safetensors"));
        using var sourceClip = SafetensorsFile.Open(folder.File("clip.safetensors"));
        using var t5Again = new T5Encoder(t5.Config);
        using var clipAgain = new ClipTextModel(clip.Config);
        t5Again.Load(sourceT5);
        clipAgain.Load(sourceClip);
        var ids = Tensor.From<long>([5, 9, 3, 1]).Unsqueeze(0);
        AssertSame(t5.Forward(ids), t5Again.Forward(ids));
        AssertSame(clip.Forward(ids).Pooled, clipAgain.Forward(ids).Pooled);
    }

    [Fact]
    public void Encoding_leaves_no_tensors_behind()
    {
        using var model = SmallT5();
        using var ids = Tensor.Zeros([1, 4], ElementType.Int64);
        var before = Tensor.LiveCount;
        model.Forward(ids).Dispose();
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void Bfloat16_weights_give_bfloat16_features_near_the_float32_ones()
    {
        using var scope = new TensorScope();
        using var t5 = SmallT5();
        using var clip = SmallClip(eos: 2);
        var ids = Tensor.From<long>([5, 9, 3, 1]).Unsqueeze(0);
        var (tokens, pooled) = (t5.Forward(ids), clip.Forward(ids).Pooled);
        t5.To(ElementType.BFloat16);
        clip.To(ElementType.BFloat16);
        Assert.Equal(ElementType.BFloat16, t5.Forward(ids).Type);
        Assert.Equal(ElementType.BFloat16, clip.Forward(ids).Pooled.Type);
        PyramidFlow.Testing.GoldenTensors.AssertClose(tokens, t5.Forward(ids), 0.06, 0.06, "T5");
        PyramidFlow.Testing.GoldenTensors.AssertClose(pooled, clip.Forward(ids).Pooled, 0.06, 0.06, "CLIP");
    }

    internal static T5Encoder SmallT5()
    {
        using var generator = new RandomGenerator(1);
        var model = new T5Encoder(JsonDocument.Parse(
            """{"vocab_size":60,"d_model":32,"d_kv":8,"d_ff":48,"num_layers":2,"num_heads":4,"feed_forward_proj":"gated-gelu"}""").RootElement.AsT5());
        model.Initialize(generator);
        return model;
    }

    internal static ClipTextModel SmallClip(long eos)
    {
        using var generator = new RandomGenerator(2);
        var config = JsonDocument.Parse(
            """{"vocab_size":64,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":2,"num_attention_heads":4,"max_position_embeddings":20,"eos_token_id":2}""").RootElement.AsClip();
        var model = new ClipTextModel(config with { EosTokenId = eos });
        model.Initialize(generator);
        return model;
    }

    private static void AssertSame(Tensor expected, Tensor actual) =>
        PyramidFlow.Testing.GoldenTensors.AssertClose(expected, actual, 1e-5, 1e-5, "features");

    private static void AssertAllTrain(Module model, Func<Tensor> forward)
    {
        foreach (var (_, parameter) in model.NamedParameters())
            parameter.Value.RequiresGrad = true;
        var y = forward();
        (y * y * y).Sum().Backward();
        Assert.All(model.NamedParameters(), p =>
        {
            Assert.True(p.Parameter.Value.Grad is not null, p.Key);
            // A key bias shifts all scores of a query alike, which the softmax undoes.
            if (!p.Key.EndsWith("k_proj.bias", StringComparison.Ordinal))
                Assert.True(p.Parameter.Value.Grad!.Abs().Max().Item() > 1e-9, p.Key);
        });
    }
}
