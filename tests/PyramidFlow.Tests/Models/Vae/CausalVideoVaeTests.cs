using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

public sealed class CausalVideoVaeTests
{
    [Fact]
    public void Has_the_released_keys_and_shapes()
    {
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Released);
        ApprovedKeys.AssertEqual("causal_video_vae.txt", vae);
    }

    [Fact]
    public void The_first_frame_depends_on_no_later_one()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var x = SmallVae.Random(2, 3, 9, 16, 16);
        var z = vae.Encode(x).Mode;
        GoldenTensors.AssertClose(z.Narrow(2, 0, 1), vae.Encode(x.Narrow(2, 0, 1)).Mode, 1e-5, 1e-5, "latent of a picture");
        GoldenTensors.AssertClose(vae.Decode(z).Narrow(2, 0, 1), vae.Decode(z.Narrow(2, 0, 1)), 1e-5, 1e-5, "picture");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Leaving_out_the_taps_that_meet_zeros_changes_no_pixel(int batch)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        var (x, z) = (SmallVae.Random(batch, 3, 1, 16, 24), SmallVae.Random(batch, 4, 1, 2, 3));
        var (latent, picture) = (vae.Encode(x).Mode, vae.Decode(z));
        vae.ComputesZeroTaps = true;
        GoldenTensors.AssertClose(vae.Encode(x).Mode, latent, 1e-5, 1e-5, "latent");
        GoldenTensors.AssertClose(vae.Decode(z), picture, 1e-5, 1e-5, "picture");

        // A tap that meets only zeros is looked at in the plain form alone.
        vae.LastWeight.Value.Select(2, 0).MulInPlace(double.NaN);
        Assert.All(vae.Decode(z).ToArray<float>(), value => Assert.True(float.IsNaN(value)));
        vae.ComputesZeroTaps = false;
        GoldenTensors.AssertClose(vae.Decode(z), picture, 0, 0, "picture whose taps do not matter");
    }

    // Batch 1 takes another way through libtorch than larger batches.
    [Fact]
    public void Gradients_do_not_depend_on_the_batch()
    {
        using var scope = new TensorScope();
        using var one = SmallVae.Create(trainable: true);
        using var two = SmallVae.Create(trainable: true);
        var x = SmallVae.Random(1, 3, 9, 16, 16);
        Backward(one, x);
        Backward(two, Tensor.Cat([x, x], 0));
        foreach (var ((key, a), (_, b)) in one.NamedParameters().Zip(two.NamedParameters()))
        {
            Assert.True(a.Value.Grad!.Abs().Max().Item() > 0 || key.EndsWith("to_k.bias", StringComparison.Ordinal), key + " gets no gradient");
            GoldenTensors.AssertClose(b.Value.Grad!, a.Value.Grad!, 1e-4, 1e-3, key);
        }
    }

    [Fact]
    public void Convolutions_can_be_computed_in_bfloat16()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var vae = SmallVae.Create();
        using var narrow = SmallVae.Create(ElementType.BFloat16);
        var z = SmallVae.Random(1, 4, 2, 2, 2);
        var (expected, actual) = (vae.Decode(z), narrow.Decode(z));
        Assert.Equal(ElementType.Float32, actual.Type);
        var error = (actual - expected).Norm().Item() / expected.Norm().Item();
        Assert.InRange(error, 1e-5, 0.05);
    }

    [Fact]
    public void A_seed_samples_the_same_latents()
    {
        using var scope = new TensorScope();
        var posterior = new DiagonalGaussian(SmallVae.Random(1, 8, 1, 2, 2));
        using var first = new RandomGenerator(3);
        using var second = new RandomGenerator(3);
        Assert.Equal(posterior.Sample(first).ToArray<float>(), posterior.Sample(second).ToArray<float>());
        Assert.NotEqual(posterior.Sample(first).ToArray<float>(), posterior.Mode.ToArray<float>());
    }

    private static void Backward(CausalVideoVae vae, Tensor x)
    {
        var posterior = vae.Encode(x);
        var error = vae.Decode(posterior.Mode) - x;
        ((error * error).Mean() + posterior.Kl().Mean()).Backward();
    }
}
