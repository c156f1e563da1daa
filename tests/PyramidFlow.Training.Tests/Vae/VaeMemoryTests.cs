using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training.Tests.Vae;

public sealed class VaeMemoryTests
{
    [Fact]
    public void A_long_clip_in_windows_takes_the_memory_of_one_and_recomputed_blocks_half_of_it()
    {
        using var generator = new RandomGenerator(1);
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Uniform([8, 16, 32, 32], 2, 3, latentChannels: 4, groups: 4));
        using var loss = new VaeLoss(new VaeLossOptions { PerceptualWeight = 0, AdversarialFactor = 0 }, null, null);
        vae.Initialize(generator);
        using var parameters = new FlatParameters(("", vae));
        var (one, three, recomputed) = (Peak(17, 1, false), Peak(49, 3, false), Peak(49, 3, true));
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"peak in forward and backward: 17 frames {one / 1e6:F1} MB, 49 frames in 3 windows {three / 1e6:F1} MB, recomputed {recomputed / 1e6:F1} MB"));
        Assert.InRange(three, 1, (long)(1.15 * one));
        Assert.InRange(recomputed, 1, (long)(0.6 * one));

        long Peak(int frames, int windows, bool recomputes)
        {
            using var scope = new TensorScope();
            vae.UsesGradientCheckpointing = recomputes;
            var video = Tensor.Rand([1, 3, frames, 32, 32], generator);
            TorchRuntime.ResetPeak();
            var before = TorchRuntime.CpuMemory.InUse;
            VaeStep.BackwardInWindows(vae, loss, video, windows, new GeneratorDraws(generator), 0);
            return TorchRuntime.CpuMemory.Peak - before;
        }
    }
}
