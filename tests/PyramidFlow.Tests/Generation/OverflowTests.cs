using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Models;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Tests.Models.Vae;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>CPUs have no float16 arithmetic: models whose weights exceed float32 stand for those that exceed float16.</summary>
public sealed class OverflowTests
{
    private static readonly SamplingPlan Plan = new(Height: 16, Width: 16, FramesPerUnit: 1, [2, 1, 2], [1, 2, 1], [3.0, 2.0, 2.0]);

    [Fact]
    public void Numbers_beyond_the_type_are_made_again_in_a_wider_one_and_said_once()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        using var sound = Tiny.Flux(generator);
        using var narrow = OverflowingFlux();
        var text = Text(generator);
        var warnings = new List<string>();
        var loads = 0;
        var expected = Sample(new PyramidSampler(sound, new PyramidFlowScheduler()), text, warnings.Add);
        Assert.Empty(warnings);
        var alone = Assert.Throws<NonFiniteException>(() => Sample(new PyramidSampler(narrow, new PyramidFlowScheduler()), text, warnings.Add));
        Assert.StartsWith("the transformer ended in numbers that are not finite after stage 1 of 3 of unit 1", alone.Message, StringComparison.Ordinal);

        var sampler = new PyramidSampler(narrow, new PyramidFlowScheduler(), null, () => { loads++; return sound; });
        Assert.Equal(expected, Sample(sampler, text, warnings.Add));
        Assert.StartsWith("numbers of the transformer went beyond Float32", Assert.Single(warnings), StringComparison.Ordinal);
        Assert.Equal(1, loads);
    }

    [Fact]
    public void A_model_that_is_sound_is_left_alone()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        using var sound = Tiny.Flux(generator);
        var text = Text(generator);
        var sampler = new PyramidSampler(sound, new PyramidFlowScheduler(), null, () => throw new InvalidOperationException("not needed"));
        Assert.All(Sample(sampler, text, Assert.Null), value => Assert.True(float.IsFinite(value)));
    }

    [Fact]
    public void Weights_that_are_damaged_whatever_the_type_are_an_error()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        using var narrow = OverflowingFlux();
        var sampler = new PyramidSampler(narrow, new PyramidFlowScheduler(), null, () => narrow);
        var error = Assert.Throws<NonFiniteException>(() => Sample(sampler, Text(generator), _ => { }));
        Assert.Equal((ModelPart.Transformer, "after stage 1 of 3 of unit 1"), (error.Part, error.Where));
    }

    [Fact]
    public void Frames_that_are_not_finite_are_decoded_again_from_the_beginning_of_the_clip()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var sound = SmallVae.Create();
        using var narrow = SmallVae.Create();
        var statistics = new LatentNormalization(0, 1, 0, 1);
        var latents = SmallVae.Random(1, sound.Config.EncoderOutChannels, 4, 4, 4);
        using var expected = new UnitDecoder(sound, statistics);
        var warnings = new List<string>();
        using var checking = new UnitDecoder(narrow, statistics, null, () => sound, warnings.Add);
        for (var unit = 0; unit < 4; unit++)
        {
            if (unit == 2)
                Overflow(narrow);
            var z = latents.Narrow(2, unit, 1);
            Assert.Equal(expected.Decode(z).ToArray<float>(), checking.Decode(z, isEnd: unit == 3).ToArray<float>());
            Assert.Equal(unit < 2 ? 0 : 1, warnings.Count);
        }
    }

    [Fact]
    public void Frames_that_are_not_finite_in_any_type_are_an_error()
    {
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        Overflow(vae);
        foreach (var wider in (Func<CausalVideoVae>?[])[null, () => vae])
        {
            using var decoder = new UnitDecoder(vae, new LatentNormalization(0, 1, 0, 1), null, wider);
            var error = Assert.Throws<NonFiniteException>(() => decoder.Decode(SmallVae.Random(1, vae.Config.EncoderOutChannels, 1, 4, 4)));
            Assert.Equal(ModelPart.Vae, error.Part);
        }
    }

    [Fact]
    public void Text_that_is_not_finite_in_any_type_is_an_error()
    {
        using var scope = new TensorScope();
        foreach (var wider in (Func<PromptEncoder>?[])[null, () => new Encoder(_ => double.NaN)])
        {
            using var book = new EncodedPrompts(new Encoder(_ => double.NaN), wider, _ => { });
            Assert.Equal(ModelPart.Text, Assert.Throws<NonFiniteException>(() => book.Text("a cat", null)).Part);
        }
    }

    [Fact]
    public void Prompts_are_encoded_once_and_again_in_a_wider_type_where_features_are_not_finite()
    {
        using var scope = new TensorScope();
        var (encoder, wide, warnings) = (new Encoder(_ => double.PositiveInfinity), new Encoder(text => text.Length), new List<string>());
        using (var book = new EncodedPrompts(encoder, () => wide, warnings.Add))
        {
            var text = book.Text("a cat", "dark");
            Assert.Same(text, book.Text("a cat", "dark"));
            Assert.Equal([4f, 4, 5, 5], book.Text("a dog", "dark").Guided!.Tokens.ToArray<float>());
            Assert.Null(book.Text("a dog", null).Guided);
        }

        Assert.Equal(["a cat", "dark", "a dog"], encoder.Encoded);
        Assert.Equal(encoder.Encoded, wide.Encoded);
        Assert.All(warnings, warning => Assert.StartsWith("numbers of the text encoders went beyond Float32", warning, StringComparison.Ordinal));
        Assert.Single(warnings.Distinct());
    }

    [Fact]
    public void Float16_on_a_cpu_is_refused_before_weights_are_read()
    {
        using var folder = new TemporaryFolder();
        TinyCheckpoint.Write(folder);
        FaultAssert.Is(Assert.Throws<RequestException>(() => VideoPipeline.Load(folder.Path, new PipelineOptions { Type = ElementType.Float16 })), "float16_on_cpu");
    }

    private static PyramidTransformer OverflowingFlux()
    {
        using var generator = new RandomGenerator(5);
        var model = Tiny.Flux(generator);
        Overflow(model);
        return model;
    }

    private static void Overflow(Module model)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        model.NamedParameters().Last(p => p.Key.EndsWith("bias", StringComparison.Ordinal)).Parameter.Value.Fill(double.PositiveInfinity);
    }

    private static GuidedText Text(RandomGenerator generator)
    {
        var guided = Tiny.Text(generator, [4, 7]);
        return new GuidedText(new TextCondition(guided.Tokens.Narrow(0, 1, 1), TextMask.OfLengths([7]), guided.Pooled.Narrow(0, 1, 1)), guided);
    }

    private static float[] Sample(PyramidSampler sampler, GuidedText text, Action<string> warn)
    {
        using var noise = new SeededNoise(3);
        var units = sampler.Clip(Plan, text, noise, warn: warn, cancellationToken: TestContext.Current.CancellationToken).ToList();
        var values = units.SelectMany(unit => unit.ToArray<float>()).ToArray();
        units.ForEach(unit => unit.Dispose());
        return values;
    }

    private sealed class Encoder(Func<string, double> feature) : PromptEncoder
    {
        public List<string> Encoded { get; } = [];

        public override long TokenWidth => 2;

        public override long PooledWidth => 1;

        public override IReadOnlyList<Module> Models => [];

        public override PromptFeatures Encode(IReadOnlyList<string> prompts)
        {
            Encoded.AddRange(prompts);
            var value = feature(prompts[0]);
            return new PromptFeatures(Tensor.Full([1, 1, 2], value), [1], Tensor.Full([1, 1], value), []);
        }
    }
}
