using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Dit;

[Trait("golden", "train")]
public class TrainGoldenTests
{
    public static TheoryData<string> Forwards => Goldens.Names("train_forward");

    public static TheoryData<string> Lengths => Goldens.Names("sample_stage_length");

    public static TheoryData<string> Pyramids => Goldens.Names("pyramid_latent");

    public static TheoryData<string> Densities => Goldens.Names("timestep_density");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Inputs_targets_losses_and_gradients_are_those_of_the_reference(string name) => Check(name, checkpointRatio: 0);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Forwards))]
    public void Recomputed_blocks_give_the_reference_gradients(string name) => Check(name, checkpointRatio: 1);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Lengths))]
    public void The_released_stage_lengths_can_be_reproduced(string name)
    {
        using var golden = Goldens.Open("sample_stage_length", name);
        using var scope = new TensorScope();
        foreach (var table in golden.File.Entries.Keys.Where(key => key.StartsWith("out/", StringComparison.Ordinal)))
        {
            foreach (var row in golden.Tensor(table).ToArray<long>().Chunk(9))
            {
                var lengths = new StageLengths { MaxTemporalLength = (int)row[0], FramesPerUnit = (int)row[1], SyncGroup = (int)row[2], AsReleased = true };
                Assert.Equal(row[6..].Select(r => (int)r), lengths.At(row[4], 3, (int)row[3], available: row[5] < 0 ? null : (int)row[5]));
            }
        }
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Pyramids))]
    public void Clean_latents_are_halved_as_in_the_reference(string name)
    {
        using var golden = Goldens.Open("pyramid_latent", name);
        using var scope = new TensorScope();
        var levels = golden.File.Entries.Keys.Count(key => key.StartsWith("out/level.", StringComparison.Ordinal));
        var pyramid = LatentPyramid.Build(golden.Tensor("in/x"), levels);
        for (var level = 0; level < levels; level++)
            golden.AssertClose($"out/level.{level}", pyramid[level]);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Densities))]
    public void Timestep_densities_are_those_of_the_reference(string name)
    {
        using var golden = Goldens.Open("timestep_density", name);
        using var scope = new TensorScope();
        foreach (var (scheme, key) in new[] { (TimestepScheme.LogitNormal, "logit_normal"), (TimestepScheme.Mode, "mode"), (TimestepScheme.Uniform, "random") })
        {
            var draws = golden.Tensor($"rand/{key}");
            var density = new TimestepDensity(scheme).Draw(new GivenDraws(draws), (int)draws.Size(0));
            golden.AssertClose($"out/{key}", Tensor.From(density));
        }
    }

    private static void Check(string name, double checkpointRatio)
    {
        using var golden = Goldens.Open("train_forward", name);
        using var scope = new TensorScope();
        var train = new TrainCase(golden);
        using var model = train.Model();
        model.CheckpointRatio = checkpointRatio;
        using var parameters = new FlatParameters(("", model));

        var text = train.Text();
        var latents = train.Latents();
        var units = train.Units(latents);
        var batch = new FlowObjective(train.Scheduler, train.Options).Draw(latents, units, train.Draws);
        Assert.Equal(0, train.Draws.Left);
        CheckInputs(golden, train, latents, units, text, batch);

        using (NoGrad.Begin())
        {
            foreach (var (column, velocity) in model.Forward(batch.Stages, text, batch.Timesteps).Index())
                golden.AssertClose($"out/pred.{column}", velocity);
        }

        golden.AssertClose("out/loss", FlowStep.Backward(model, batch, text).Mean());
        golden.AssertClose("out/total_grad_norm", parameters.Gradients.Norm());
        foreach (var (key, gradient) in parameters.Named(parameters.Gradients))
        {
            if (golden.Has($"grad/{key}"))
                golden.AssertClose($"grad/{key}", gradient);
        }

        var known = parameters.Layout().Select(p => $"grad/{p.Key}").ToHashSet();
        Assert.All(golden.File.Entries.Keys.Where(key => key.StartsWith("grad/", StringComparison.Ordinal)), key => Assert.Contains(key, known));
    }

    private static void CheckInputs(GoldenCase golden, TrainCase train, Tensor latents, IReadOnlyList<int>? units, TextCondition text, FlowBatch batch)
    {
        foreach (var (level, clean) in LatentPyramid.Build(latents, train.Stages).Index())
            golden.AssertClose($"mid/pyramid_latent.{level}", clean);
        if (units is not null)
            Assert.Equal(golden.Tensor("mid/stage_units").ToArray<long>(), units.Select(u => (long)u));
        golden.AssertClose("mid/encoder_hidden_states", text.Tokens);
        golden.AssertClose("mid/pooled", text.Pooled);
        Assert.Equal(new TextMask(golden.Tensor("mid/encoder_attention_mask")).KeyBias().ToArray<float>(), text.Mask.KeyBias().ToArray<float>());
        golden.AssertClose("mid/timesteps_to_model", batch.Timesteps);
        foreach (var (column, sample) in batch.Columns.Index())
        {
            golden.AssertClose($"mid/target.{column}", sample.Target);
            golden.AssertClose($"mid/timestep.{column}", sample.Timesteps);
            Assert.Equal(golden.File.Entries.Keys.Count(key => key.StartsWith($"mid/noisy.{column}.", StringComparison.Ordinal)), sample.Clips.Count);
            foreach (var (clip, tensor) in sample.Clips.Index())
                golden.AssertClose($"mid/noisy.{column}.{clip}", tensor);
        }
    }

    private sealed class GivenDraws(Tensor values) : ITrainingDraws
    {
        public float[] Uniform(int count) => values.ToArray<float>();

        public Tensor Normal(long[] shape) => values;
    }
}
