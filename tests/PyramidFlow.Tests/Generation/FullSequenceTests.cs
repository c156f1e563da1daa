using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Generation;

public class FullSequenceTests
{
    private static readonly PipelineSettings Settings = TinyCheckpoint.Settings with { FullSequence = true, Steps = [3], VideoSteps = [3], Frames = 17 };

    [Fact]
    public void All_frames_are_one_unit_of_one_stage()
    {
        var plan = new GenerationOptions { Prompt = "a cat" }.Resolve(Settings).Sampling;
        Assert.Equal((1, 1, 3, 3), (plan.Units, plan.Stages, plan.First, plan.Frames));
        Assert.Equal([Settings.Guidance], plan.Guidance);
    }

    [Fact]
    public void Linear_guidance_begins_with_the_whole_scale() =>
        Assert.Equal([6.0], new GenerationOptions { Prompt = "a cat", Guidance = 6, LinearGuidance = new(0.5, 2) }.Resolve(Settings).Sampling.Guidance);

    [Fact]
    public void A_clip_longer_than_the_trained_ones_is_warned_of() =>
        Assert.Contains("longer", Assert.Single(new GenerationOptions { Prompt = "a cat", Frames = 8 * Settings.MaxLatentFrames + 1 }.Resolve(Settings).Warnings), StringComparison.Ordinal);

    [Fact]
    public void What_needs_units_is_refused()
    {
        var request = new GenerationOptions { Prompt = "a cat" };
        foreach (var wrong in new[] { request with { Image = new byte[3 * 64 * 64] }, request with { Schedule = [new PromptChange(1, "a dog")] } })
            FaultAssert.Is(Assert.Throws<RequestException>(() => wrong.Resolve(Settings)), "needs_units");
    }

    [Fact]
    public void The_setting_is_written_and_read()
    {
        using var folder = new TemporaryFolder();
        Settings.Write(folder.File(PipelineSettings.FileName));
        Assert.True(PipelineSettings.Read(folder.File(PipelineSettings.FileName), TinyCheckpoint.Settings).FullSequence);
    }

    [Fact]
    public void Sampling_is_euler_steps_from_noise_to_data()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(Tiny.Config with { UseTemporalCausal = false }, generator);
        var words = new TextCondition(Tensor.Randn([1, 3, model.Config.JointAttentionDim], generator), TextMask.OfLengths([3]),
            Tensor.Randn([1, model.Config.PooledProjectionDim], generator));
        var plan = new SamplingPlan(16, 16, 1, [4], [4], [null]) { First = 3 };
        var scheduler = new PyramidFlowScheduler(new FlowOptions { Stages = 1, StageRange = [0, 1] });
        using var noise = new SeededNoise(3);
        var sampled = Assert.Single(new PyramidSampler(model, scheduler).Clip(plan, new GuidedText(words, null), noise, cancellationToken: TestContext.Current.CancellationToken).ToList());

        using var again = new SeededNoise(3);
        var x = again.Latents([1, model.Config.LatentChannels, 3, 16, 16]);
        var steps = scheduler.Steps(0, 4);
        for (var i = 0; i < 4; i++)
        {
            var velocity = model.Forward([[x]], words, Tensor.Full([1], steps.Timesteps[i], ElementType.Float32))[0];
            x += velocity * (steps.Sigmas[i + 1] - steps.Sigmas[i]);
        }

        GoldenTensors.AssertClose(x, sampled, 1e-5, 1e-5, "clip");
        Assert.Equal((1.0, 0.0), (steps.Sigmas[0], steps.Sigmas[4]));
        sampled.Dispose();
    }
}
