using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Generation;

/// <summary>Each approximation against a plain form of its definition, on one unit at one stage and on whole clips.</summary>
public sealed class ApproximationTests : IDisposable
{
    private const double Scale = 4;
    private static readonly double[] Timesteps = [950, 800, 650, 500, 350];

    private readonly RandomGenerator generator = new(5);

    public static TheoryData<ModelFamily, bool> Passes => new(
        from family in new[] { ModelFamilies.Flux, ModelFamilies.Sd3 }
        from usesPrefix in new[] { false, true }
        select (family, usesPrefix));

    public void Dispose() => generator.Dispose();

    [Theory]
    [MemberData(nameof(Passes))]
    public void Without_approximations_guided_velocities_are_those_of_both_rows_to_the_bit(ModelFamily family, bool usesPrefix)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var stage = new Stage(family, generator);
        var options = new SamplerOptions { UsePrefix = usesPrefix };
        using var plain = StageVelocity.Begin(stage.Model, stage.Doubled, ClipSize.Of(stage.Noisy), stage.Text.Guided!, Timesteps, options);
        using var velocity = stage.Velocity(Approximations.None, options);
        for (var step = 0; step < Timesteps.Length; step++)
        {
            var rows = plain.At(Tensor.Cat([stage.Noisy, stage.Noisy], 0), step).Chunk(2, 0);
            GoldenTensors.AssertClose(rows[0].Add(rows[1] - rows[0], Scale), velocity.At(stage.Noisy, step), 0, 0, $"step {step}");
        }
    }

    [Theory]
    [MemberData(nameof(Passes))]
    public void Between_guided_steps_the_prompt_alone_runs_and_the_last_difference_is_added(ModelFamily family, bool usesPrefix)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var stage = new Stage(family, generator);
        foreach (var (every, bytes) in new[] { (2, 1), (3, 100_000), (5, 1 << 30) })
        {
            using var velocity = stage.Velocity(new() { GuidanceEvery = every }, new SamplerOptions { UsePrefix = usesPrefix, PrefixBytes = bytes });
            Tensor? difference = null;
            for (var step = 0; step < Timesteps.Length; step++)
            {
                var noisy = Tensor.Randn(stage.Noisy.Shape, generator);
                var prompt = stage.Joint(noisy, stage.Text.Prompt, step);
                if (step % every == 0)
                {
                    var rows = stage.Joint(Tensor.Cat([noisy, noisy], 0), stage.Text.Guided!, step).Chunk(2, 0);
                    difference = rows[1] - rows[0];
                }

                GoldenTensors.AssertClose(prompt.Add(difference!, Scale - 1), velocity.At(noisy, step), 1e-4, 1e-4, $"every {every}, step {step}");
            }
        }
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void A_reused_prefix_is_that_of_the_mean_timestep_and_the_unit_keeps_its_own(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var stage = new Stage(family, generator);
        var (model, text) = (stage.Model, stage.Text.Prompt);
        foreach (var (reuse, bytes) in new[] { (2, 1), (2, 1 << 30), (5, 1 << 30), (100, 1 << 30) })
        {
            using var velocity = stage.Velocity(new() { ReusePrefix = reuse }, new SamplerOptions { PrefixBytes = bytes }, guidance: null);
            for (var step = 0; step < Timesteps.Length; step++)
            {
                var mean = Timesteps.Skip(step / reuse * reuse).Take(reuse).Average();
                using var prefix = model.ComputePrefix(stage.History, ClipSize.Of(stage.Noisy), text, Tensor.From([(float)mean]));
                var own = model.Modulate(Tensor.From([(float)Timesteps[step]]), text.Pooled);
                GoldenTensors.AssertClose(model.ForwardUnit(stage.Noisy, 0, prefix, own), velocity.At(stage.Noisy, step), 1e-5, 1e-5, $"{reuse} steps, step {step}");
            }
        }
    }

    [Fact]
    public void A_unit_modulated_at_the_timestep_of_its_prefix_is_exact_and_at_another_is_not()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var stage = new Stage(ModelFamilies.Flux, generator);
        var (model, text) = (stage.Model, stage.Text.Prompt);
        using var prefix = model.ComputePrefix(stage.History, ClipSize.Of(stage.Noisy), text, Tensor.From([650f]));
        var exact = model.ForwardUnit(stage.Noisy, 0, prefix);
        GoldenTensors.AssertClose(exact, model.ForwardUnit(stage.Noisy, 0, prefix, model.Modulate(Tensor.From([650f]), text.Pooled)), 1e-6, 1e-6, "same timestep");
        var other = model.ForwardUnit(stage.Noisy, 0, prefix, model.Modulate(Tensor.From([350f]), text.Pooled));
        Assert.NotEqual(exact.ToArray<float>(), other.ToArray<float>());
        Assert.NotEqual(stage.Joint(stage.Noisy, text, 4).ToArray<float>(), other.ToArray<float>());
    }

    [Fact]
    public void Each_changes_a_clip_with_history_and_leaves_no_tensor()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var stage = new Stage(ModelFamilies.Flux, generator);
        var plan = new SamplingPlan(Height: 16, Width: 24, FramesPerUnit: 1, [3, 3, 3], [3, 3, 3], [Scale, Scale, Scale]);
        var exact = Sample(plan);
        Assert.Equal(exact, Sample(plan with { Approximations = new() { ReusePrefix = 1, GuidanceEvery = 1, Solver = FlowSolvers.Euler } }));
        var live = Tensor.LiveCount;
        foreach (var approximations in new Approximations[] { new() { ReusePrefix = 2 }, new() { GuidanceEvery = 2 }, new() { Solver = FlowSolvers.SecondOrder }, new() { Solver = FlowSolvers.Heun }, new() { Solver = FlowSolvers.Heun, GuidanceEvery = 2, ReusePrefix = 2 } })
        {
            Assert.NotEqual(exact, Sample(plan with { Approximations = approximations }));
            Assert.Equal(live, Tensor.LiveCount);
        }

        float[] Sample(SamplingPlan plan)
        {
            using var inner = new TensorScope();
            using var noise = new SeededNoise(3);
            var units = new PyramidSampler(stage.Model, new PyramidFlowScheduler()).Clip(plan, stage.Text, noise, cancellationToken: TestContext.Current.CancellationToken).ToList();
            var clip = Tensor.Cat([.. units], 2).ToArray<float>();
            units.ForEach(unit => unit.Dispose());
            return clip;
        }
    }

    [Fact]
    public void Work_counts_every_pass_that_is_made()
    {
        var (config, sampler) = (Tiny.Config, new SamplerOptions());
        var shape = new SequenceShape(2, 9, [new(3, 2, 3), new(1, 4, 6)], Causal: true);
        var single = shape with { Rows = 1 };
        var (prefix, unit) = (DitFlops.Prefix(config, shape), DitFlops.Unit(config, shape));
        Assert.Equal(7 * (prefix + unit), WorkCount.Stage(config, shape, 7, sampler, Approximations.None));
        Assert.Equal((4 * prefix) + (7 * unit), WorkCount.Stage(config, shape, 7, sampler, new() { ReusePrefix = 2 }));
        Assert.Equal((3 * (prefix + unit)) + (4 * (DitFlops.Prefix(config, single) + DitFlops.Unit(config, single))),
            WorkCount.Stage(config, shape, 7, sampler, new() { GuidanceEvery = 3 }));
        Assert.Equal(7 * DitFlops.Joint(config, single),
            WorkCount.Stage(config, single, 7, sampler with { UsePrefix = false }, new() { ReusePrefix = 2, GuidanceEvery = 3 }));
    }

    [Fact]
    public void Progress_weighs_a_step_by_what_is_left_of_its_work()
    {
        var plan = new SamplingPlan(16, 24, 1, [2, 2, 2], [4, 4, 4], [Scale, Scale, null]);
        Assert.Equal(plan.Tokens(1, 0), plan.Work(1, 0, evaluation: 3));
        var (own, all) = ((double)plan.SizeOf(1, 0).Tokens, (double)plan.Tokens(1, 0));
        plan = plan with { Approximations = new() { ReusePrefix = 4, GuidanceEvery = 2 } };
        Assert.Equal(own + ((all - own) / 4), plan.Work(1, 0, evaluation: 2));
        Assert.Equal((own + ((all - own) / 4)) / 2, plan.Work(1, 0, evaluation: 3));
        Assert.Equal(plan.Work(2, 0, evaluation: 2), plan.Work(2, 0, evaluation: 3));
    }

    // One unit with its history, and a text whose two rows are of different lengths.
    private sealed class Stage : IDisposable
    {
        internal Stage(ModelFamily family, RandomGenerator generator)
        {
            Model = Tiny.Build(family, generator);
            var guided = Tiny.Text(generator, [4, 7]);
            Text = new GuidedText(new TextCondition(guided.Tokens.Narrow(0, 1, 1), TextMask.OfLengths([7]), guided.Pooled.Narrow(0, 1, 1)), guided);
            Tensor[] clips = [.. Tiny.Clips(generator, unit: 2, stage: 1).Select(clip => clip.Narrow(0, 0, 1))];
            (History, Noisy) = (clips[..^1], clips[^1]);
        }

        internal PyramidTransformer Model { get; }

        internal GuidedText Text { get; }

        internal IReadOnlyList<Tensor> History { get; }

        internal Tensor Noisy { get; }

        internal IReadOnlyList<Tensor> Doubled => [.. History.Select(clip => Tensor.Cat([clip, clip], 0))];

        public void Dispose() => Model.Dispose();

        internal GuidedVelocity Velocity(Approximations approximations, SamplerOptions options, double? guidance = Scale) =>
            new(Model, History, ClipSize.Of(Noisy), Text, Timesteps, guidance, approximations, options);

        internal Tensor Joint(Tensor noisy, TextCondition text, int step) => Model.Forward(
            [[.. text.Mask.Rows == 1 ? History : Doubled, noisy]], text, Tensor.From([.. Enumerable.Repeat((float)Timesteps[step], text.Mask.Rows)]))[0];
    }
}
