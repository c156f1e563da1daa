using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Vae;

[Trait("golden", "vae")]
public sealed class CausalVideoVaeGoldenTests
{
    public static TheoryData<string> Encodings => Goldens.Names("vae_encode");

    public static TheoryData<string> Decodings => Goldens.Names("vae_decode");

    [Theory]
    [MemberData(nameof(Encodings))]
    public void Encodes(string name)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var golden = Goldens.Open("vae_encode", name);
        using var vae = golden.OpenVae();
        var posterior = vae.Encode(golden.Tensor("in/x"));
        golden.AssertClose("out/moments", posterior.Moments);
        golden.AssertClose("out/mean", posterior.Mean);
        golden.AssertClose("out/logvar", posterior.LogVariance);
    }

    [Theory]
    [MemberData(nameof(Decodings))]
    public void Decodes(string name)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        using var golden = Goldens.Open("vae_decode", name);
        using var vae = golden.OpenVae();
        golden.AssertClose("out/sample", vae.Decode(golden.Tensor("in/z"), golden.Call().Flag("is_init_image", true)));
    }
}
