using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Dit;

public sealed class FlowObjectiveTests : IDisposable
{
    private const int Batch = 3, Channels = 4, Side = 16;

    private readonly TensorScope scope = new();
    private readonly PyramidFlowScheduler scheduler = new();

    public void Dispose() => scope.Dispose();

    [Theory]
    [InlineData(0, 0, "1:4")]
    [InlineData(0, 1, "1:8")]
    [InlineData(0, 2, "1:16")]
    [InlineData(1, 0, "1:4 1:4")]
    [InlineData(1, 2, "1:16 1:16")]
    [InlineData(2, 0, "1:4 1:4 1:4")]
    [InlineData(2, 2, "1:8 1:16 1:16")]
    [InlineData(3, 0, "2:4 1:4 1:4")]
    [InlineData(3, 1, "2:4 1:8 1:8")]
    [InlineData(3, 2, "1:4 1:8 1:16 1:16")]
    public void The_history_loses_a_stage_of_resolution_with_every_unit_back(int unit, int stage, string clips)
    {
        var sample = Draw(Latents(unit), stage, seed: 1);
        Assert.Equal(clips, string.Join(' ', sample.Clips.Select(c => $"{c.Size(2)}:{c.Size(3)}")));
        Assert.All(sample.Clips, c => Assert.Equal(((long)Batch, (long)Channels, c.Size(3)), (c.Size(0), c.Size(1), c.Size(4))));
        Assert.Equal(sample.Clips[^1].Shape, sample.Target.Shape);
        Assert.Equal([Batch], sample.Timesteps.Shape);
        Assert.All(sample.Timesteps.ToArray<float>(), t => Assert.InRange(t, 0, 1000));
    }

    [Fact]
    public void The_last_stage_ends_in_the_clean_latents()
    {
        var latents = Latents(2);
        var sample = Draw(latents, stage: 2, seed: 1);
        var end = sample.Clips[^1] - (Sigma(sample, 2) * sample.Target);
        AssertClose(latents.Narrow(2, 2, 1), end);
    }

    [Fact]
    public void The_first_stage_starts_in_noise_that_knows_nothing_of_the_latents()
    {
        var sample = Draw(Latents(0), stage: 0, seed: 1);
        var start = Start(sample, 0);
        AssertClose(Start(Draw(Latents(0) * 5, stage: 0, seed: 1), 0), start);
        Assert.InRange((start * start).Mean().Item(), 0.7, 1.3);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Later_stages_start_in_the_stage_before_doubled_and_mixed_with_the_noise_of_their_end(int stage)
    {
        var latents = Latents(0);
        var sample = Draw(latents, stage, seed: 4);
        var window = scheduler.Stages[stage];
        var before = LatentPyramid.Double(LatentPyramid.Build(latents, 3)[stage - 1]);
        var noise = (Start(sample, stage) - (before * (1 - window.Start))) / window.Start;
        Assert.InRange((noise * noise).Mean().Item(), 0.8, 1.2);
        if (stage == 1)
        {
            var clean = LatentPyramid.Build(latents, 3)[stage];
            AssertClose((noise * window.End) + (clean * (1 - window.End)), Start(sample, stage) - sample.Target);
        }
    }

    [Fact]
    public void Without_corruption_the_history_is_clean_and_with_it_at_most_the_ratio_is_noise()
    {
        var latents = Latents(1);
        AssertClose(latents.Narrow(2, 0, 1), Draw(latents, stage: 2, seed: 1, corrupt: 0).Clips[0]);
        var corrupted = Draw(latents * 0, stage: 2, seed: 1, corrupt: 1 / 3.0).Clips[0];
        var deviation = (corrupted * corrupted).Mean([1, 2, 3, 4]).Sqrt();
        Assert.InRange(deviation.Max().Item(), 1e-3, 0.36);
    }

    [Fact]
    public void All_draws_follow_from_the_generator()
    {
        var (first, again, other) = (Draw(Latents(2), 1, seed: 7), Draw(Latents(2), 1, seed: 7), Draw(Latents(2), 1, seed: 8));
        Assert.Equal(first.Timesteps.ToArray<float>(), again.Timesteps.ToArray<float>());
        Assert.Equal(first.Target.ToArray<float>(), again.Target.ToArray<float>());
        for (var i = 0; i < first.Clips.Count; i++)
            Assert.Equal(first.Clips[i].Contiguous().ToArray<float>(), again.Clips[i].Contiguous().ToArray<float>());
        Assert.NotEqual(first.Target.ToArray<float>(), other.Target.ToArray<float>());
    }

    private static Tensor Latents(int unit)
    {
        using var generator = new RandomGenerator(99);
        return Tensor.Randn([Batch, Channels, 1 + unit, Side, Side], generator);
    }

    private FlowSample Draw(Tensor latents, int stage, ulong seed, double corrupt = 1 / 3.0)
    {
        using var generator = new RandomGenerator(seed);
        var objective = new FlowObjective(scheduler, new ObjectiveOptions { CorruptRatio = corrupt });
        return objective.DrawStage(latents, stage, new GeneratorDraws(generator)).Columns[0];
    }

    // input = end + sigma (start - end), target = start - end
    private Tensor Start(FlowSample sample, int stage) => sample.Clips[^1] + ((1 - Sigma(sample, stage)) * sample.Target);

    private Tensor Sigma(FlowSample sample, int stage)
    {
        var window = scheduler.Stages[stage];
        var timesteps = window.Timesteps.Select(t => (float)t).ToList();
        var sigmas = sample.Timesteps.ToArray<float>().Select(t => (float)window.Sigmas[timesteps.IndexOf(t)]).ToArray();
        return Tensor.From(sigmas, sigmas.Length, 1, 1, 1, 1);
    }

    private static void AssertClose(Tensor expected, Tensor actual) =>
        Assert.InRange((expected - actual).Abs().Max().Item(), 0, 1e-4);
}
