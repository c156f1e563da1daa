using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

[Trait("golden", "vae")]
public sealed class CausalVideoVaeGoldenTests
{
    public static TheoryData<string> Encodings => Goldens.Names("vae_encode");

    public static TheoryData<string> Decodings => Goldens.Names("vae_decode");

    public static TheoryData<string> Passes => Goldens.Names("vae_forward");

    public static TheoryData<string> Gaussians => Goldens.Names("diagonal_gaussian");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Encodings))]
    public void Encodes(string name)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var golden = Goldens.Open("vae_encode", name);
        using var vae = golden.OpenVae();
        var posterior = vae.Encode(golden.Tensor("in/x"), Window(golden, 16), Tiles(golden));
        golden.AssertClose("out/moments", posterior.Moments);
        golden.AssertClose("out/mean", posterior.Mean);
        golden.AssertClose("out/logvar", posterior.LogVariance);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Decodings))]
    public void Decodes(string name)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var golden = Goldens.Open("vae_decode", name);
        using var vae = golden.OpenVae();
        golden.AssertClose("out/sample", vae.Decode(golden.Tensor("in/z"), Window(golden, 2), Tiles(golden),
            golden.Call().Flag("is_init_image", true)));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Passes))]
    public void Encodes_and_decodes(string name)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var golden = Goldens.Open("vae_forward", name);
        using var vae = golden.OpenVae();
        var posterior = vae.Encode(golden.Tensor("in/x"));
        golden.AssertClose("out/moments", posterior.Moments);
        golden.AssertClose("out/mean", posterior.Mean);
        golden.AssertClose("out/logvar", posterior.LogVariance);
        golden.AssertClose("out/kl", posterior.Kl());
        var z = golden.Has("rand/posterior_noise") ? posterior.Sample(golden.Tensor("rand/posterior_noise")) : posterior.Mode;
        golden.AssertClose("out/reconstruction", vae.Decode(z));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Gaussians))]
    public void Distribution(string name)
    {
        using var scope = new TensorScope();
        using var golden = Goldens.Open("diagonal_gaussian", name);
        var posterior = new DiagonalGaussian(golden.Tensor("in/parameters"));
        golden.AssertClose("out/mean", posterior.Mean);
        golden.AssertClose("out/mode", posterior.Mode);
        golden.AssertClose("out/logvar", posterior.LogVariance);
        golden.AssertClose("out/std", posterior.StandardDeviation());
        golden.AssertClose("out/var", posterior.Variance());
        golden.AssertClose("out/sample", posterior.Sample(golden.Tensor("rand/noise")));
        golden.AssertClose("out/kl", posterior.Kl());
        var other = new DiagonalGaussian(golden.Tensor("in/other_parameters"));
        golden.AssertClose("out/kl_other", other.Kl(new DiagonalGaussian(golden.Tensor("in/kl_other_second"))));
        golden.AssertClose("out/nll_dims1234", other.NegativeLogLikelihood(golden.Tensor("in/x")));
    }

    private static int? Window(GoldenCase golden, int otherwise) => golden.Call().Flag("temporal_chunk", false)
        ? (int)golden.Call().Integer("window_size", otherwise)
        : null;

    private static TileOptions? Tiles(GoldenCase golden) => golden.Call().Flag("use_tiling", false)
        ? new TileOptions((int)golden.Call().Integer("tile_sample_min_size", 256), Blend: TileBlend.Sequential)
        : null;
}
