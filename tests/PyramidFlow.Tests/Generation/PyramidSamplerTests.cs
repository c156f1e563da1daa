using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Generation;

public class PyramidSamplerTests
{
    private static readonly SamplingPlan Plan = new(Height: 16, Width: 24, FramesPerUnit: 1, [2, 1, 2], [3, 2, 2], [4.0, 3.0, 3.0, 3.0]);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("pyramid_flux", 1, true)]
    [InlineData("pyramid_flux", 2, true)]
    [InlineData("pyramid_flux", 1, false)]
    [InlineData("pyramid_mmdit", 1, false)]
    public void Prefix_and_unit_passes_equal_joint_passes_over_a_clip(string familyName, int framesPerUnit, bool guided)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(family, generator);
        var text = Text(generator);
        var plan = Plan with { FramesPerUnit = framesPerUnit, Guidance = guided ? Plan.Guidance : [null, null, null, null] };
        var joint = Sample(model, plan, text, new SamplerOptions { UsePrefix = false });
        foreach (var bytes in new[] { 1, 400_000, 1 << 30 })
            GoldenTensors.AssertClose(joint, Sample(model, plan, text, new SamplerOptions { PrefixBytes = bytes }), 1e-4, 1e-4, $"prefix within {bytes} bytes");
    }

    [Fact]
    public void A_model_without_temporal_causal_attention_samples_by_joint_passes()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(Tiny.Config with { UseTemporalCausal = false }, generator);
        var text = Text(generator);
        GoldenTensors.AssertClose(Sample(model, Plan, text, new SamplerOptions { UsePrefix = false }), Sample(model, Plan, text, new SamplerOptions()), 0, 0, "clip");
    }

    [Fact]
    public void Guidance_of_1_equals_the_prompt_alone()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Flux(generator);
        var text = Text(generator);
        GoldenTensors.AssertClose(
            Sample(model, Plan with { Guidance = [null, null] }, text, new SamplerOptions()),
            Sample(model, Plan with { Guidance = [1.0, 1.0] }, text, new SamplerOptions()), 1e-4, 1e-4, "clip");
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Every_step_leaves_the_same_number_of_tensors(bool prefix)
    {
        using var outer = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Flux(generator);
        var text = Text(generator);
        var counts = new Dictionary<(int, int), List<long>>();
        var counter = new Reports<SamplerStep>(step =>
        {
            if (!counts.TryGetValue((step.Unit, step.Stage), out var live))
                counts[(step.Unit, step.Stage)] = live = [];
            live.Add(Tensor.LiveCount);
        });
        var before = Tensor.LiveCount;
        using var noise = new SeededNoise(3);
        var sampler = new PyramidSampler(model, new PyramidFlowScheduler(), new SamplerOptions { UsePrefix = prefix });
        var plan = Plan with { Steps = [4, 4, 4], VideoSteps = [4, 4, 4], Guidance = [4.0, 3.0] };
        foreach (var unit in sampler.Clip(plan, text, noise, progress: counter, cancellationToken: Cancel))
            unit.Dispose();
        Assert.Equal(6, counts.Count);
        // The first step frees nothing: the sample it starts from belongs to the stage before.
        Assert.All(counts.Values, live => Assert.Single(live[1..].Distinct()));
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void Cancelling_stops_before_the_next_step()
    {
        using var outer = new TensorScope();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Flux(generator);
        var text = Text(generator);
        using var noise = new SeededNoise(3);
        using var cancel = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var steps = 0;
        var counter = new Reports<SamplerStep>(_ =>
        {
            if (++steps == 7)
                cancel.Cancel();
        });
        var sampler = new PyramidSampler(model, new PyramidFlowScheduler());
        var before = Tensor.LiveCount;
        Assert.Throws<OperationCanceledException>(() =>
        {
            foreach (var unit in sampler.Clip(Plan, text, noise, progress: counter, cancellationToken: cancel.Token))
                unit.Dispose();
        });
        Assert.Equal(7, steps);
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void A_plan_of_other_stages_is_refused()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Flux(generator);
        using var noise = new SeededNoise(3);
        var sampler = new PyramidSampler(model, new PyramidFlowScheduler());
        var text = Text(generator);
        var error = Assert.Throws<ArgumentException>(() => sampler.Clip(Plan with { Steps = [1, 1] }, text, noise, cancellationToken: Cancel));
        Assert.Contains("the plan has 2 stages and the schedule 3", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Tokens_count_what_the_transformer_is_given()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        for (var unit = 0; unit < 4; unit++)
        {
            for (var stage = 0; stage < 3; stage++)
            {
                var clean = Tensor.Zeros([1, 4, Math.Max(1, unit), Plan.Height, Plan.Width]);
                var clips = unit == 0 ? [] : LatentPyramid.History(LatentPyramid.Build(clean, 3), unit, stage, 1);
                Assert.Equal(clips.Sum(c => ClipSize.Of(c).Tokens) + Plan.SizeOf(unit, stage).Tokens, Plan.Tokens(unit, stage));
            }
        }
    }

    [Fact]
    public void Old_history_stays_at_the_lowest_resolution()
    {
        Assert.Equal([(0, 0, 1)], LatentPyramid.HistoryRanges(frames: 1, stage: 0, framesPerUnit: 1));
        Assert.Equal([(2, 0, 1)], LatentPyramid.HistoryRanges(frames: 1, stage: 2, framesPerUnit: 1));
        Assert.Equal([(0, 0, 3), (1, 3, 1), (2, 4, 1)], LatentPyramid.HistoryRanges(frames: 5, stage: 2, framesPerUnit: 1));
        Assert.Equal([(0, 0, 4), (0, 4, 1)], LatentPyramid.HistoryRanges(frames: 5, stage: 0, framesPerUnit: 1));
        Assert.Equal([(1, 0, 1), (2, 1, 2)], LatentPyramid.HistoryRanges(frames: 3, stage: 2, framesPerUnit: 2));
    }

    private static GuidedText Text(RandomGenerator generator)
    {
        var guided = Tiny.Text(generator, [4, 7]);
        return new GuidedText(
            new TextCondition(guided.Tokens.Narrow(0, 1, 1), TextMask.OfLengths([7]), guided.Pooled.Narrow(0, 1, 1)), guided);
    }

    private static Tensor Sample(PyramidTransformer model, SamplingPlan plan, GuidedText text, SamplerOptions options)
    {
        using var noise = new SeededNoise(3);
        var units = new PyramidSampler(model, new PyramidFlowScheduler(), options).Clip(plan, text, noise, cancellationToken: Cancel).ToList();
        var clip = Tensor.Cat([.. units], 2);
        units.ForEach(unit => unit.Dispose());
        return clip;
    }
}
