using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Dit;

public sealed class PackedBatchTests : IDisposable
{
    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(5);
    private readonly PyramidFlowScheduler scheduler = new();

    public void Dispose()
    {
        generator.Dispose();
        scope.Dispose();
    }

    [Fact]
    public void Rows_are_dealt_to_the_stages_by_the_ratios()
    {
        var batch = Draw(Tensor.Randn([8, 4, 3, 16, 8], generator), [3, 2, 1], [1, 2, 1]);
        Assert.Equal(["2x4x1x4x2 2x4x1x4x2 2x4x1x4x2", "2x4x1x8x4 2x4x1x8x4", "2x4x1x8x4 2x4x1x8x4", "2x4x1x16x8"],
            batch.Columns.Select(c => string.Join(' ', c.Clips.Select(x => string.Join('x', x.Shape)))));
        Assert.Equal(batch.Columns.Select(c => c.Timesteps.ToArray<float>()[1]), batch.Timesteps.ToArray<float>()[4..]);
    }

    [Fact]
    public void A_stage_of_ratio_0_takes_no_part()
    {
        var batch = Draw(Tensor.Randn([2, 4, 1, 16, 8], generator), null, [0, 0, 1]);
        Assert.Equal([2, 4, 1, 16, 8], Assert.Single(batch.Columns).Target.Shape);
    }

    [Fact]
    public void Without_units_the_whole_clip_is_learned_at_once()
    {
        var batch = Draw(Tensor.Randn([3, 4, 5, 16, 8], generator), null, [1, 1, 1]);
        Assert.All(batch.Columns, c => Assert.Equal(5, Assert.Single(c.Clips).Size(2)));
    }

    [Fact]
    public void More_units_than_the_clip_has_are_those_it_has()
    {
        var batch = Draw(Tensor.Randn([3, 4, 2, 16, 8], generator), [9, 9, 9], [1, 1, 1]);
        Assert.All(batch.Columns, c => Assert.Equal([1, 1], c.Clips.Select(x => (int)x.Size(2))));
    }

    [Fact]
    public void The_latents_stay_as_they_are()
    {
        var latents = Tensor.Randn([3, 4, 3, 16, 8], generator);
        var before = latents.ToArray<float>();
        Draw(latents, [3, 3, 3], [1, 1, 1]);
        Assert.Equal(before, latents.ToArray<float>());
    }

    [Fact]
    public void Batches_sizes_and_options_that_do_not_fit_are_refused_with_what_would()
    {
        Assert.Throws<ArgumentException>("latents", () => Draw(Tensor.Zeros([6, 4, 1, 16, 8]), null, [1, 2, 1]));
        Assert.Throws<ArgumentException>("latents", () => Draw(Tensor.Zeros([3, 4, 1, 16, 12]), null, [1, 1, 1]));
        Refused(() => Draw(Tensor.Zeros([3, 4, 1, 16, 8]), null, [1, 1]), "numbers_per_stage", "key=sample_ratios numbers=2 stages=3");
        Refused(() => new FlowObjective(scheduler, new ObjectiveOptions { CorruptRatio = 1.5 }), "config_value_invalid", "key=corrupt_ratio value=1.5");
        Refused(() => new FlowObjective(scheduler, new ObjectiveOptions { FramesPerUnit = 0 }), "config_value_invalid", "key=frame_per_unit value=0 least=1");
    }

    [Fact]
    public void A_sample_counts_the_same_at_every_stage()
    {
        var batch = Draw(Tensor.Randn([3, 4, 1, 16, 8], generator), null, [1, 1, 1]);
        Tensor[] velocities = [batch.Columns[0].Target + 3, batch.Columns[1].Target, batch.Columns[2].Target];
        Assert.Equal([9f, 0f, 0f], FlowLoss.PerSample(velocities, batch).ToArray<float>().Select(l => MathF.Round(l, 3)));
        Assert.Equal(3, FlowLoss.Mean(velocities, batch).Item(), 1e-4);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void A_step_scales_and_weights_its_gradients_and_leaves_nothing_behind(double checkpointRatio)
    {
        using var model = new PyramidFluxConfig(16, 1, 1, 16, 2, 12, 8, [4, 6, 6]).Build();
        model.Initialize(generator);
        model.CheckpointRatio = checkpointRatio;
        using var parameters = new FlatParameters(("", model));
        var text = new TextCondition(Tensor.Randn([3, 2, 12], generator), TextMask.OfLengths([2, 1, 2]), Tensor.Randn([3, 8], generator));
        var batch = Draw(Tensor.Randn([3, 4, 2, 16, 8], generator), [2, 2, 2], [1, 1, 1]);
        var whole = Gradients(1, null);
        var live = Tensor.LiveCount;
        AssertHalf(Gradients(0.5, null));
        AssertHalf(Gradients(1, [0.5f, 0.5f, 0.5f]));
        Assert.Equal(live, Tensor.LiveCount);
        Assert.True(whole.Max(Math.Abs) > 0);

        void AssertHalf(float[] half) => Assert.All(whole.Zip(half), pair => Assert.Equal(pair.First, 2 * pair.Second, 1e-5));

        float[] Gradients(double scale, float[]? weights)
        {
            parameters.ZeroGradients();
            FlowStep.Backward(model, batch, text, scale, weights).Dispose();
            return parameters.Gradients.ToArray<float>();
        }
    }

    [Fact]
    public void Dropped_prompts_become_the_empty_one_whatever_its_length()
    {
        var text = new TextCondition(Tensor.Ones([3, 2, 5]), TextMask.OfLengths([2, 1, 2]), Tensor.Ones([3, 6]));
        var nothing = new TextCondition(Tensor.Full([1, 3, 5], -1), TextMask.OfLengths([3]), Tensor.Full([1, 6], -1));
        var dropped = text.Replace([false, true, false], nothing);
        Assert.Equal([1f, 1f, 0f, -1f, -1f, -1f, 1f, 1f, 0f], dropped.Tokens.Select(2, 0).Contiguous().ToArray<float>());
        Assert.Equal([1f, -1f, 1f], dropped.Pooled.Select(1, 0).Contiguous().ToArray<float>());
        Assert.Equal([0, 0, float.NegativeInfinity, 0, 0, 0, 0, 0, float.NegativeInfinity], dropped.Mask.KeyBias().ToArray<float>());
        Assert.Throws<ArgumentException>(() => text.Replace([true], nothing));
    }

    [Fact]
    public void Prompts_are_dropped_as_often_as_the_rate_says()
    {
        var draws = new GeneratorDraws(generator);
        Assert.InRange(TextDrop.Choose(5000, 0.1, draws).Count(d => d), 400, 600);
        Assert.DoesNotContain(false, TextDrop.Choose(100, 1, draws));
    }

    private static void Refused(Action action, string code, string parameters) => FaultAssert.Has(Assert.Throws<TrainingException>(action), code, parameters);

    private FlowBatch Draw(Tensor latents, int[]? units, int[] ratios) =>
        new FlowObjective(scheduler, new ObjectiveOptions { SampleRatios = ratios }).Draw(latents, units, new GeneratorDraws(generator));
}
