using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Training.Tests.Vae;

/// <summary>The planned memory of a VAE's forward and backward, held against the allocator.</summary>
public sealed class VaeActivationTests
{
    private const double Tolerance = 0.15;

    [Theory]
    [InlineData("Float32", 9, 2, false, true, false)]
    [InlineData("Float32", 9, 2, true, true, false)]
    [InlineData("Float32", 9, 2, false, false, false)]
    [InlineData("Float32", 1, 4, false, true, false)]
    [InlineData("Float32", 9, 1, false, true, true)]
    [InlineData("BFloat16", 9, 2, false, true, false)]
    [InlineData("BFloat16", 9, 2, true, true, false)]
    public void The_peak_of_a_step_is_planned(string convolutions, int frames, int rows, bool recomputes, bool trainsEncoder, bool perceptual)
    {
        var type = Enum.Parse<ElementType>(convolutions);
        int[] channels = [8, 16, 32, 32, 32];
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Uniform([16, 32, 64, 64], 2, 3, latentChannels: 4, groups: 4)) { ConvolutionType = type == ElementType.Float32 ? null : type };
        vae.Initialize(generator);
        vae.TrainsEncoder = trainsEncoder;
        vae.UsesGradientCheckpointing = recomputes;
        using var lpips = perceptual ? new Lpips(channels) : null;
        lpips?.Initialize(generator);
        using var loss = new VaeLoss(new VaeLossOptions { PerceptualWeight = perceptual ? 1 : 0, AdversarialFactor = 0 }, lpips, null);
        using var parameters = new FlatParameters(("", vae));
        var video = Tensor.Rand([rows, 3, frames, 64, 64], generator);
        var before = TorchRuntime.CpuMemory.InUse;
        TorchRuntime.ResetPeak();
        VaeStep.Backward(vae, loss, video, new GeneratorDraws(generator), 0);
        var measured = TorchRuntime.CpuMemory.Peak - before;
        var size = new ClipBatchSize(rows, frames, 64, 64);
        var planned = new VaeActivations(vae.Config, ElementType.Float32, type, DeviceType.Cpu, recomputes)
            .Training(size, trainsEncoder, LossMemory.Of(size, perceptual ? channels : null, null, DeviceType.Cpu));
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{type} {frames} {rows} recomputes {recomputes} encoder {trainsEncoder} lpips {perceptual}: planned {planned / 1e6:F1} MB, measured {measured / 1e6:F1} MB, {((double)planned / measured) - 1:+0.0%;-0.0%}"));
        Assert.InRange((double)planned / measured, 1 - Tolerance, 1 + Tolerance);
    }

    [Theory]
    [InlineData("Float32", 17, null)]
    [InlineData("BFloat16", 17, null)]
    [InlineData("BFloat16", 17, 8)]
    public void The_peak_of_encoding_is_planned(string name, int frames, int? window)
    {
        var type = Enum.Parse<ElementType>(name);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Uniform([16, 32, 64, 64], 2, 3, latentChannels: 4, groups: 4));
        vae.Initialize(generator);
        vae.To(type);
        var video = Tensor.Rand([2, 3, frames, 64, 64], generator).To(type);
        var before = TorchRuntime.CpuMemory.InUse;
        TorchRuntime.ResetPeak();
        vae.Encode(video, window);
        var measured = TorchRuntime.CpuMemory.Peak - before;
        var planned = new VaeActivations(vae.Config, type, type, DeviceType.Cpu, HasWindows: window is not null).Encoding(new ClipBatchSize(2, (window ?? (frames - 1)) + 1, 64, 64));
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"encoding {type} {frames} {window}: planned {planned / 1e6:F1} MB, measured {measured / 1e6:F1} MB, {((double)planned / measured) - 1:+0.0%;-0.0%}"));
        Assert.InRange((double)planned / measured, 1 - Tolerance, 1 + Tolerance);
    }
}
