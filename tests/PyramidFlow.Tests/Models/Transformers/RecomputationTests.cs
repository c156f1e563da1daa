using System.Globalization;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

public sealed class RecomputationTests : IDisposable
{
    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(3);

    public void Dispose()
    {
        generator.Dispose();
        scope.Dispose();
    }

    [Theory]
    [InlineData("pyramid_flux", 0.3)]
    [InlineData("pyramid_flux", 1)]
    [InlineData("pyramid_mmdit", 0.5)]
    [InlineData("pyramid_mmdit", 1)]
    public void Blocks_computed_again_change_no_gradient(string familyName, double ratio)
    {
        var family = ModelFamilies.Get(familyName);
        using var model = Tiny.Build(family, generator);
        using var parameters = new FlatParameters(("", model));
        var clips = Tiny.Clips(generator, unit: 2, stage: 1);
        var text = Tiny.Text(generator, [9, 4]);
        var plain = Gradients(model, parameters, clips, text, 0);
        var again = Gradients(model, parameters, clips, text, ratio);
        var error = (plain - again).Norm().Item() / plain.Norm().Item();
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture, $"relative difference {error:G3}"));
        Assert.InRange(error, 0, 1e-6);
        Assert.True(plain.Norm().Item() > 0);
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Twelve_blocks_computed_again_need_at_least_40_percent_less_memory(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        ITransformerConfig config = family == ModelFamilies.Flux
            ? Tiny.Config with { NumLayers = 4, NumSingleLayers = 8 }
            : Tiny.MmditConfig with { NumLayers = 12 };
        using var model = Tiny.Build(config, generator);
        using var parameters = new FlatParameters(("", model));
        var clips = Tiny.Clips(generator, unit: 2, stage: 2);
        var text = Tiny.Text(generator, [9, 9]);
        long[] peaks = [.. new double[] { 0, 0.6, 1 }.Select(ratio =>
        {
            TorchRuntime.ResetPeak();
            var before = TorchRuntime.CpuMemory.InUse;
            Gradients(model, parameters, clips, text, ratio).Dispose();
            return TorchRuntime.CpuMemory.Peak - before;
        })];
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"peak in forward and backward: {peaks[0] / 1e6:F1} MB, {peaks[1] / 1e6:F1} MB at ratio 0.6, {peaks[2] / 1e6:F1} MB at ratio 1"));
        Assert.All(peaks[1..], peak => Assert.InRange(peak, 1, (long)(0.6 * peaks[0])));
    }

    [Fact]
    public void Backward_without_layouts_that_last_is_refused()
    {
        using var model = Tiny.Flux(generator);
        model.CheckpointRatio = 0.5;
        var clips = Tiny.Clips(generator, unit: 1, stage: 0);
        var text = Tiny.Text(generator, [3, 3]);
        var timesteps = Tensor.Ones([2]) * 500;
        Assert.Contains("layouts", Assert.Throws<InvalidOperationException>(() => model.Forward([clips], text, timesteps)).Message, StringComparison.Ordinal);
        using var noGrad = NoGrad.Begin();
        Assert.Single(model.Forward([clips], text, timesteps));
    }

    private static Tensor Gradients(PyramidTransformer model, FlatParameters parameters, Tensor[] clips, TextCondition text, double ratio)
    {
        using var scope = new TensorScope();
        model.CheckpointRatio = ratio;
        using var layout = model.Layout([.. clips.Select(ClipSize.Of)], text.Mask);
        var velocity = model.Forward([clips], text, Tensor.Ones([2]) * 500, [layout])[0];
        (velocity * velocity).Mean().Backward();
        var gradients = parameters.Gradients.Clone();
        parameters.ZeroGradients();
        return scope.Keep(gradients);
    }
}
