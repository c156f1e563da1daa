using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Vae;
using PyramidFlow.Testing;

namespace PyramidFlow.Training.Tests.Vae;

public sealed class VaeLossTests : IDisposable
{
    private static readonly VaeLossOptions PixelsOnly = new() { PerceptualWeight = 0, AdversarialFactor = 0 };

    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(4);

    public void Dispose()
    {
        generator.Dispose();
        scope.Dispose();
    }

    [Fact]
    public void Without_perceptual_weight_no_LPIPS_is_needed()
    {
        using var vae = Vae();
        using var loss = Initialized(new VaeLoss(PixelsOnly, null, null));
        using var parameters = new FlatParameters(("", vae));
        var (terms, judged) = VaeStep.Backward(vae, loss, Video(9), new GeneratorDraws(generator), step: 0);
        Assert.Equal(10 * terms.Pixel, terms.Reconstruction, 1e-4);
        Assert.Equal(0, terms.Perceptual);
        Assert.Null(judged);
        Assert.True(parameters.Gradients.Norm().Item() > 0);
    }

    [Fact]
    public void A_part_that_counts_and_is_missing_is_named()
    {
        Assert.Throws<ArgumentException>("perceptual", () => new VaeLoss(new VaeLossOptions(), null, null));
        Assert.Throws<ArgumentException>("discriminator", () => new VaeLoss(PixelsOnly with { AdversarialFactor = 1 }, null, null));
        var error = Assert.Throws<CheckpointException>(() => Lpips.Open("no/vgg_lpips.pth"));
        FaultAssert.Is(error, "file_missing", ("file", "no/vgg_lpips.pth"));
    }

    [Fact]
    public void The_discriminator_takes_part_from_its_first_step_on()
    {
        using var vae = Vae();
        using var loss = Initialized(new VaeLoss(PixelsOnly with { AdversarialFactor = 1, AdversarialStart = 5 }, null, new PatchDiscriminator(new(3, 2, 2))));
        using var parameters = new FlatParameters(("vae", vae), ("loss", loss));
        var before = VaeStep.Backward(vae, loss, Video(1), new GeneratorDraws(generator), step: 4);
        Assert.Null(before.Discriminator);
        Assert.Equal(0, before.Vae.AdversarialWeight);
        Assert.Equal(0, Discriminator(parameters));
        var live = Tensor.LiveCount;
        using (new TensorScope())
            _ = VaeStep.Backward(vae, loss, Video(1), new GeneratorDraws(generator), step: 5);
        Assert.Equal(live, Tensor.LiveCount);
        var after = VaeStep.Backward(vae, loss, Video(1), new GeneratorDraws(generator), step: 5);
        Assert.NotNull(after.Discriminator);
        Assert.True(after.Vae.AdversarialWeight > 0);
        Assert.True(Discriminator(parameters) > 0);
    }

    [Fact]
    public void A_frozen_encoder_gets_no_gradients_and_the_scale_is_a_factor_of_all_others()
    {
        using var vae = Vae();
        foreach (var (key, parameter) in vae.NamedParameters())
            parameter.Trainable = !key.StartsWith("encoder.", StringComparison.Ordinal) && !key.StartsWith("quant_conv.", StringComparison.Ordinal);
        using var loss = Initialized(new VaeLoss(PixelsOnly with { AdversarialFactor = 1, AdversarialStart = 0 }, null, new PatchDiscriminator(new(3, 2, 2))));
        using var parameters = new FlatParameters(("vae", vae), ("loss", loss));
        var whole = Gradients(vae, loss, parameters, scale: 1);
        var half = Gradients(vae, loss, parameters, scale: 0.5);
        Assert.DoesNotContain(parameters.Layout(), p => p.Key.Contains(".encoder.", StringComparison.Ordinal));
        Assert.InRange((whole - (half * 2)).Norm().Item() / whole.Norm().Item(), 0, 1e-5);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(9)]
    [InlineData(17)]
    public void A_discriminator_of_clips_judges_clips_of_any_length(int frames)
    {
        using var judge = Initialized(new PatchDiscriminator(new DiscriminatorConfig(3, 2, 3, IsVideo: true)));
        var logits = judge.Forward(Tensor.Randn([1, 3, frames, 32, 32], generator));
        Assert.Equal([1, 1, Math.Max(1, (frames / 2) - 4), 2, 2], logits.Shape);
        Assert.True(logits.IsFinite().All().Item() != 0);
    }

    [Fact]
    public void Pictures_too_small_for_the_discriminator_are_refused_with_a_size_that_does()
    {
        using var judge = new PatchDiscriminator();
        Assert.Throws<ArgumentException>("x", () => judge.Forward(Tensor.Zeros([1, 3, 32, 64])));
    }

    [Fact]
    public void Features_that_are_all_zero_leave_the_perceptual_gradient_finite()
    {
        using var lpips = Initialized(new Lpips([2, 2, 2, 2, 2]));
        var picture = Tensor.Randn([1, 3, 32, 32], generator);
        picture.RequiresGrad = true;
        var distance = lpips.Forward(Tensor.Zeros([1, 3, 32, 32]), picture);
        Assert.Equal(0, distance.Gradients([picture])[0].Abs().Max().Item());
    }

    private static double Discriminator(FlatParameters parameters) => parameters.Named(parameters.Gradients)
        .Where(p => p.Key.StartsWith("loss.discriminator.", StringComparison.Ordinal)).Sum(p => p.Tensor.Norm().Item());

    private static Tensor Gradients(CausalVideoVae vae, VaeLoss loss, FlatParameters parameters, double scale)
    {
        using var draws = new RandomGenerator(8);
        parameters.ZeroGradients();
        var video = Tensor.Rand([1, 3, 1, 32, 32], draws);
        VaeStep.Backward(vae, loss, video, new GeneratorDraws(draws), step: 0, scale);
        return parameters.Gradients.Clone();
    }

    private Tensor Video(int frames) => (Tensor.Rand([1, 3, frames, 32, 32], generator) * 2) - 1;

    private CausalVideoVae Vae() =>
        Initialized(new CausalVideoVae(CausalVideoVaeConfig.Uniform([4, 4, 8, 8], 1, 1, latentChannels: 4, groups: 2)));

    private T Initialized<T>(T module)
        where T : Module
    {
        module.Initialize(generator);
        return module;
    }
}
