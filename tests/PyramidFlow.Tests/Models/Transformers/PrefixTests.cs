using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

public class PrefixTests
{
    private static readonly float[] Timesteps = [990, 512.5f, 3];

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Every_unit_of_a_clip_at_every_stage_equals_the_joint_pass(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(family, generator);
        CheckUnits(model, generator);
    }

    // Those without turns are not to be had with the causal mask in the released code.
    [Theory]
    [InlineData("sincos", true, true)]
    [InlineData("rope", false, true)]
    [InlineData("rope", true, false)]
    public void Other_positions_of_the_mmdit_have_a_prefix_too(string time, bool added, bool interpolated)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(Tiny.MmditConfig with { TempPosEmbedType = time, AddTempPosEmbed = added, InterpConditionPos = interpolated }, generator);
        CheckUnits(model, generator);
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void The_first_unit_has_no_prefix(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(family, generator);
        var error = Assert.Throws<InvalidOperationException>(() =>
            model.ComputePrefix([], new ClipSize(1, 4, 4), Tiny.Text(generator, [3]), Tensor.From([700f])));
        Assert.Contains("use Forward", error.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Steps_leave_no_tensors_behind(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var outer = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var generator = new RandomGenerator(5);
        using var model = Tiny.Build(family, generator);
        var text = Tiny.Text(generator, [7, 3]);
        var clips = Tiny.Clips(generator, 2, 1);
        var before = Tensor.LiveCount;
        using (new TensorScope())
        {
            using var prefix = model.ComputePrefix(clips[..^1], ClipSize.Of(clips[^1]), text, Tensor.From(Timesteps));
            model.ForwardUnit(clips[^1], 2, prefix);
            model.Forward([clips], text, Tensor.Full([2], 700));
        }

        Assert.Equal(before, Tensor.LiveCount);
    }

    private static void CheckUnits(PyramidTransformer model, RandomGenerator generator)
    {
        var text = Tiny.Text(generator, [7, 3]);
        for (var unit = 1; unit < 5; unit++)
        {
            for (var stage = 0; stage < 3; stage++)
            {
                var clips = Tiny.Clips(generator, unit, stage);
                using var prefix = model.ComputePrefix(clips[..^1], ClipSize.Of(clips[^1]), text, Tensor.From([700f]));
                var joint = model.Forward([clips], text, Tensor.Full([2], 700))[0];
                GoldenTensors.AssertClose(joint, model.ForwardUnit(clips[^1], 0, prefix), 1e-5, 1e-5, $"unit {unit}, stage {stage}");
            }
        }
    }
}
