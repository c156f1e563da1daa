using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public class HistoryCacheTests
{
    private static readonly SamplingPlan Plan = new(Height: 16, Width: 24, FramesPerUnit: 1, [2, 1, 2], [3, 2, 3], [4.0, 3.0, 3.0, 3.0, 3.0, 3.0, 3.0]);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<string, int, bool, int, int> Clips => new()
    {
        { "pyramid_flux", 1, true, 1, 1 },
        { "pyramid_flux", 2, true, 1, 1 },
        { "pyramid_flux", 1, false, 1, 1 },
        { "pyramid_flux", 1, true, 2, 1 },
        { "pyramid_flux", 1, true, 1, 2 },
        { "pyramid_mmdit", 1, true, 1, 1 },
        { "pyramid_mmdit", 2, false, 1, 1 },
    };

    [Theory]
    [MemberData(nameof(Clips))]
    public void A_clip_is_the_same_with_and_without(string familyName, int framesPerUnit, bool guided, int reuse, int every)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(ModelFamilies.Get(familyName), generator);
        var text = Text(generator);
        var plan = Plan with
        {
            FramesPerUnit = framesPerUnit,
            Guidance = guided ? Plan.Guidance : [.. Plan.Guidance.Select(_ => (double?)null)],
            Approximations = new Approximations { ReusePrefix = reuse, GuidanceEvery = every },
        };
        foreach (var wholeUpTo in new[] { 0, 256 })
        {
            var options = new SamplerOptions { HistoryBytes = 0, Attention = new AttentionSettings { WholeUpTo = wholeUpTo } };
            var before = Tensor.LiveCount;
            var plain = Sample(model, plan, _ => text, options);
            var all = HistoryPlan.Choose(plan, model.Config, model.WeightType, options with { HistoryBytes = long.MaxValue });
            Assert.NotEmpty(all);
            // All, about half of the timesteps, and one timestep at a time.
            foreach (var (history, prefix) in new[] { (long.MaxValue, 2L << 30), (all.Sum(stage => stage.Bytes) / 2, 2L << 30), (long.MaxValue, 1L) })
                GoldenTensors.AssertClose(plain, Sample(model, plan, _ => text, options with { HistoryBytes = history, PrefixBytes = prefix }), 1e-5, 1e-5, $"history within {history} bytes");
            Assert.Equal(before + 4, Tensor.LiveCount);
        }
    }

    [Theory]
    [InlineData(1, 2L << 30)]
    [InlineData(2, 2L << 30)]
    [InlineData(2, 1L)]
    public void A_clip_whose_guidance_comes_and_goes_is_the_same(int every, long prefixBytes)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Flux(generator);
        var text = Text(generator);
        var plan = Plan with { VideoSteps = [4, 4, 4], Guidance = [4.0, 3.0, 3.0, null, null, 3.0, 3.0, null], Approximations = new Approximations { GuidanceEvery = every } };
        GoldenTensors.AssertClose(Sample(model, plan, _ => text, new SamplerOptions { HistoryBytes = 0, PrefixBytes = prefixBytes }), Sample(model, plan, _ => text, new SamplerOptions { PrefixBytes = prefixBytes }), 1e-5, 1e-5, "clip");
    }

    [Fact]
    public void A_new_prompt_begins_the_history_anew()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Flux(generator);
        GuidedText[] texts = [Text(generator), Text(generator, 9)];
        GuidedText Of(int unit) => texts[unit < 4 ? 0 : 1];
        var plain = Sample(model, Plan, Of, new SamplerOptions { HistoryBytes = 0 });
        GoldenTensors.AssertClose(plain, Sample(model, Plan, Of, new SamplerOptions()), 1e-5, 1e-5, "clip");
        var first = Sample(model, Plan, _ => texts[0], new SamplerOptions());
        Assert.True((first - plain).Narrow(2, 4, 3).Abs().Max().Item() > 1e-3);
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void A_pass_reads_the_kept_frames_and_runs_those_behind_them(string familyName)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(ModelFamilies.Get(familyName), generator);
        var text = Tiny.Text(generator, [7, 3]);
        var timesteps = Tensor.From([900f, 400f]);
        var frames = Tensor.Randn([2, 4, 5, 4, 4], generator);
        var unit = Tensor.Randn([2, 4, 1, 4, 4], generator);
        using var whole = model.ComputePrefix([frames], ClipSize.Of(unit), text, timesteps);
        using var buffer = new HistoryBuffer(timesteps: 3, rows: 2, capacity: 7 + (4 * 4));

        using (model.ComputePrefix([frames.Narrow(2, 0, 3)], ClipSize.Of(unit), text, timesteps, kept: new HistorySlice(buffer, 1, 3)))
            Assert.Equal((0, 3, 3), (buffer.Frames(0, 1), buffer.Frames(1, 1), buffer.Frames(2, 1)));

        // Frames that are kept are not looked at again.
        var other = Tensor.Cat([Tensor.Randn([2, 4, 3, 4, 4], generator), frames.Narrow(2, 3, 2)], 2);
        using var continued = model.ComputePrefix([other], ClipSize.Of(unit), text, timesteps, kept: new HistorySlice(buffer, 1, 4));
        for (var timestep = 0; timestep < 2; timestep++)
            GoldenTensors.AssertClose(model.ForwardUnit(unit, timestep, whole), model.ForwardUnit(unit, timestep, continued), 1e-5, 1e-5, $"timestep {timestep}");
        Assert.Equal(4, buffer.Frames(1, 2));

        // The same pass again, as after an error: nothing new becomes final.
        using var again = model.ComputePrefix([other], ClipSize.Of(unit), text, timesteps, kept: new HistorySlice(buffer, 1, 4));
        GoldenTensors.AssertClose(model.ForwardUnit(unit, 1, whole), model.ForwardUnit(unit, 1, again), 1e-5, 1e-5, "again");
    }

    public static TheoryData<string> Requests => [.. Kinds.Keys];

    // Ways to make a clip, each with many units after the first.
    private static Dictionary<string, Func<GenerationOptions, GenerationOptions>> Kinds => new()
    {
        ["plain"] = request => request,
        ["prompt schedule"] = request => request with { Schedule = [new PromptChange(1, "a dog runs")] },
        ["window"] = request => request with { HistoryWindow = 3 },
        ["two clips"] = request => request with { Count = 2 },
        ["given frames"] = request => request with { Video = TinyPipeline.Video(17), Frames = 40 },
        ["units of two"] = request => request with { FramesPerUnit = 2, Frames = 65 },
    };

    [Theory]
    [MemberData(nameof(Requests))]
    public void A_pipeline_makes_the_same_latents_with_and_without(string kind)
    {
        using var tiny = new TinyPipeline();
        using var without = tiny.Load(new PipelineOptions { Sampler = new SamplerOptions { HistoryBytes = 0 } });
        using var offloaded = tiny.Load(new PipelineOptions { Offload = Offload.Sequential });
        var request = Kinds[kind](TinyPipeline.Request with { Frames = 57 });
        using var scope = new TensorScope();
        var plain = without.GenerateLatents(request, cancellationToken: Cancel);
        GoldenTensors.AssertClose(plain, tiny.Pipeline.GenerateLatents(request, cancellationToken: Cancel), 1e-5, 1e-5, kind);
        GoldenTensors.AssertClose(plain, offloaded.GenerateLatents(request, cancellationToken: Cancel), 1e-5, 1e-5, $"{kind}, offloaded");
    }

    [Fact]
    public void What_is_kept_follows_from_the_plan()
    {
        // Frames at the lowest resolution after units 1, 2, ... at each stage; the last unit leaves nothing more.
        long[][] expected = [[1, 2, 3, 4, 5, 5], [0, 1, 2, 3, 4, 4], [0, 0, 1, 2, 3, 3]];
        for (var stage = 0; stage < 3; stage++)
            Assert.Equal(expected[stage], Enumerable.Range(1, 6).Select(unit => HistoryPlan.KeptFrames(Plan, unit, stage)));
        Assert.Equal([0, 0, 1, 2], Enumerable.Range(0, 4).Select(unit => HistoryPlan.HeldFrames(Plan, unit, 0, isNewText: false)));
        Assert.Equal(0, HistoryPlan.HeldFrames(Plan, 3, 0, isNewText: true));

        // A window of 3 frames: unit 4 begins with another frame.
        var windowed = Plan with { Window = 3 };
        Assert.Equal([1, 2, 2, 0, 0], Enumerable.Range(1, 5).Select(unit => HistoryPlan.KeptFrames(windowed, unit, 0)));
        Assert.Equal([0, 0, 1, 2, 0], Enumerable.Range(0, 5).Select(unit => HistoryPlan.HeldFrames(windowed, unit, 0, isNewText: false)));
    }

    [Fact]
    public void A_limit_keeps_the_lower_stages_first()
    {
        var config = Tiny.Config;
        var all = HistoryPlan.Choose(Plan, config, ElementType.Float32, new SamplerOptions { HistoryBytes = long.MaxValue });
        Assert.Equal([(0, 3), (1, 2), (2, 3)], all.Select(stage => (stage.Stage, stage.Timesteps)));
        var limit = all[0].Bytes + (all[1].Bytes / 2);
        var some = HistoryPlan.Choose(Plan, config, ElementType.Float32, new SamplerOptions { HistoryBytes = limit });
        Assert.Equal([(0, 3), (1, 1)], some.Select(stage => (stage.Stage, stage.Timesteps)));
        Assert.True(some.Sum(stage => stage.Bytes) <= limit);
        Assert.Empty(HistoryPlan.Choose(Plan, config, ElementType.Float32, new SamplerOptions { HistoryBytes = 0 }));
        Assert.Empty(HistoryPlan.Choose(Plan, config with { UseTemporalCausal = false }, ElementType.Float32, new SamplerOptions { HistoryBytes = limit }));
    }

    private static GuidedText Text(RandomGenerator generator, int words = 7)
    {
        var guided = Tiny.Text(generator, [4, words]);
        return new GuidedText(
            new TextCondition(guided.Tokens.Narrow(0, 1, 1), TextMask.OfLengths([words]), guided.Pooled.Narrow(0, 1, 1)), guided);
    }

    private static Tensor Sample(PyramidTransformer model, SamplingPlan plan, Func<int, GuidedText> text, SamplerOptions options)
    {
        using var scope = new TensorScope();
        using var noise = new SeededNoise(3);
        using var history = new ClipHistory(window: null);
        var sampler = new PyramidSampler(model, new PyramidFlowScheduler(), options);
        using var fallback = sampler.Fallback(null);
        for (var unit = 0; unit < plan.Units; unit++)
        {
            using var latents = sampler.Unit(plan, unit, history.Latents, text(unit), noise, fallback, null, Cancel);
            history.Add(latents);
        }

        return scope.Keep(history.Latents!.Clone());
    }
}
