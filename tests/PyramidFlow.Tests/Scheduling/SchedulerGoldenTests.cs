using System.Text.RegularExpressions;
using PyramidFlow.Scheduling;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Scheduling;

public partial class SchedulerGoldenTests
{
    public static TheoryData<string> Flows => Goldens.Names("flow_scheduler");

    public static TheoryData<string> Noises => Goldens.Names("block_noise");

    [Theory(SkipTestWithoutData = true)]
    [Trait("golden", "scheduler")]
    [MemberData(nameof(Flows))]
    public void Flow_tables_are_those_of_the_reference(string name)
    {
        using var golden = Goldens.Open("flow_scheduler", name);
        using var scope = new TensorScope();
        var scheduler = Scheduler(golden);
        var stages = scheduler.Stages;
        golden.AssertClose("out/sigmas", Tensor.From(scheduler.Sigmas.ToArray()));
        golden.AssertClose("out/timesteps", Tensor.From(scheduler.Timesteps.ToArray()));
        golden.AssertClose("out/sigma_min_max", Tensor.From([(double)scheduler.Sigmas[^1], scheduler.Sigmas[0]]));
        golden.AssertClose("out/start_sigmas", Tensor.From(stages.Select(s => s.Start).ToArray()));
        golden.AssertClose("out/end_sigmas", Tensor.From(stages.Select(s => s.End).ToArray()));
        golden.AssertClose("out/ori_start_sigmas", Tensor.From(stages.Select(s => s.StartBeforeUpsampling).ToArray()));
        golden.AssertClose("out/timestep_ratios", Tensor.From(stages.SelectMany(s => new[] { s.Share.Begin, s.Share.End }).ToArray(), stages.Count, 2));
        for (var k = 0; k < stages.Count; k++)
        {
            golden.AssertClose($"out/timesteps_per_stage/{k}", Tensor.From(stages[k].Timesteps.ToArray()));
            golden.AssertClose($"out/sigmas_per_stage/{k}", Tensor.From(stages[k].Sigmas.ToArray()));
        }
    }

    [Theory(SkipTestWithoutData = true)]
    [Trait("golden", "scheduler")]
    [MemberData(nameof(Flows))]
    public void Euler_steps_are_those_of_the_reference(string name)
    {
        using var golden = Goldens.Open("flow_scheduler", name);
        using var scope = new TensorScope();
        var scheduler = Scheduler(golden);
        var runs = golden.File.Entries.Keys.Select(key => RunName().Match(key)).Where(m => m.Success).ToList();
        Assert.NotEmpty(runs);
        foreach (var run in runs)
        {
            var steps = scheduler.Steps(int.Parse(run.Groups["stage"].ValueSpan), int.Parse(run.Groups["n"].ValueSpan));
            golden.AssertClose($"out/{run.Groups["run"]}/timesteps", Tensor.From(steps.Timesteps.ToArray()));
            golden.AssertClose($"out/{run.Groups["run"]}/sigmas", Tensor.From(steps.Sigmas.ToArray()));
            golden.AssertClose($"out/{run.Groups["run"]}/prev_samples", Run(golden, $"in/{run.Groups["run"]}", steps));
        }

        if (golden.Has("in/bf16/sample"))
            golden.AssertClose("out/bf16/prev_samples", Run(golden, "in/bf16", scheduler.Steps(scheduler.Stages.Count - 1, 4)));
    }

    [Theory(SkipTestWithoutData = true)]
    [Trait("golden", "pipeline")]
    [MemberData(nameof(Noises))]
    public void Block_noise_has_the_covariance_and_block_order_of_the_reference(string name)
    {
        using var golden = Goldens.Open("block_noise", name);
        using var scope = new TensorScope();
        var cases = 0;
        for (; golden.Has($"in/gamma.{cases}"); cases++)
        {
            var gamma = golden.Tensor($"in/gamma.{cases}").Item();
            // Noise made from the four unit vectors is the factor itself, one column per row.
            var factor = BlockNoise.FromNormal(Eye(4).Reshape(4, 2, 2), gamma).Reshape(4, 4);
            golden.AssertClose($"out/covariance.{cases}", factor.Transpose(0, 1).Matmul(factor));

            // The factor is sqrt(1+g) off the block's mean and sqrt(1-3g) along it: undo that and draw the noise again.
            var expected = golden.Tensor($"out/noise.{cases}");
            var s = expected.Shape;
            var blocks = expected.Reshape(s[0], s[1], s[2], s[3] / 2, 2, s[4] / 2, 2);
            var mean = blocks.Mean([4, 6], keepDim: true);
            var along = 1 - (3 * gamma) > 1e-9 ? mean / Math.Sqrt(1 - (3 * gamma)) : mean * 0.0;
            var z = (blocks - mean) / Math.Sqrt(1 + gamma) + along;
            golden.AssertClose($"out/noise.{cases}", BlockNoise.FromNormal(z.Reshape(s), gamma));
        }

        Assert.True(cases > 0);
    }

    private static Tensor Eye(int n)
    {
        var data = new float[n * n];
        for (var i = 0; i < n; i++)
            data[i * (n + 1)] = 1;
        return Tensor.From(data, n, n);
    }

    private static PyramidFlowScheduler Scheduler(GoldenCase golden) => new(new FlowOptions
    {
        NumTrainTimesteps = golden.Config.GetProperty("num_train_timesteps").GetInt32(),
        Shift = golden.Config.GetProperty("shift").GetDouble(),
        Stages = golden.Config.GetProperty("stages").GetInt32(),
        StageRange = [.. golden.Config.GetProperty("stage_range").EnumerateArray().Select(v => v.GetDouble())],
        Gamma = golden.Config.GetProperty("gamma").GetDouble(),
    });

    private static Tensor Run(GoldenCase golden, string run, FlowSteps steps)
    {
        var sample = golden.Tensor($"{run}/sample");
        var outputs = golden.Tensor($"{run}/model_outputs").Unbind(0);
        var samples = new Tensor[steps.Count];
        for (var k = 0; k < steps.Count; k++)
            samples[k] = sample = PyramidFlowScheduler.Step(sample, outputs[k], steps.Sigmas[k], steps.Sigmas[k + 1]);
        return Tensor.Stack(samples);
    }

    [GeneratedRegex(@"^in/(?<run>n(?<n>\d+)/stage(?<stage>\d+))/sample$")]
    private static partial Regex RunName();
}
