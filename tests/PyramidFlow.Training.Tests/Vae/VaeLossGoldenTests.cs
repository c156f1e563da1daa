using System.Text;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Vae;

[Trait("golden", "vae_loss")]
public class VaeLossGoldenTests
{
    public static TheoryData<string> Perceptual => Goldens.Names("lpips");

    public static TheoryData<string> Discriminators => Goldens.Names("patch_discriminator");

    public static TheoryData<string> VideoDiscriminators => Goldens.Names("patch_discriminator_3d");

    public static TheoryData<string> Adversarial => Goldens.Names("disc_losses");

    public static TheoryData<string> Full => Goldens.Names("vae_gan_loss");

    public static TheoryData<string> LossWeights => Goldens.Names("adaptive_loss_weight");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Perceptual))]
    public void The_perceptual_distance_and_its_gradient_are_the_references(string name)
    {
        using var golden = Goldens.Open("lpips", name);
        using var scope = new TensorScope();
        using var lpips = Loaded(golden, new Lpips(Channels(golden.Config.GetProperty("chns"))));
        var target = golden.Tensor("in/target").Clone();
        target.RequiresGrad = true;
        var distance = lpips.Forward(golden.Tensor("in/input"), target);
        golden.AssertClose("out/lpips", distance);
        golden.AssertClose("grad/target", distance.Sum().Gradients([target])[0]);
        foreach (var (part, features) in lpips.Features(golden.Tensor("in/input")).Index())
            golden.AssertClose($"mid/features.{part}", features);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Discriminators))]
    public void The_discriminator_and_its_gradients_are_the_references(string name) => CheckDiscriminator("patch_discriminator", name, isVideo: false);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(VideoDiscriminators))]
    public void The_discriminator_of_clips_and_its_gradients_are_the_references(string name) => CheckDiscriminator("patch_discriminator_3d", name, isVideo: true);

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Adversarial))]
    public void The_discriminator_minimises_what_the_reference_does(string name)
    {
        using var golden = Goldens.Open("disc_losses", name);
        using var scope = new TensorScope();
        var (real, fake) = (golden.Tensor("in/logits_real"), golden.Tensor("in/logits_fake"));
        golden.AssertClose("out/hinge", AdversarialLoss.Hinge.Compute(real, fake));
        golden.AssertClose("out/vanilla", AdversarialLoss.Vanilla.Compute(real, fake));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(LossWeights))]
    public void Weights_by_timestep_follow_the_losses_as_in_the_reference(string name)
    {
        using var golden = Goldens.Open("adaptive_loss_weight", name);
        using var scope = new TensorScope();
        var range = golden.Config.GetProperty("timestep_range");
        var weight = new AdaptiveLossWeight(range[0].GetDouble(), range[1].GetDouble(), golden.Config.GetProperty("buckets").GetInt32());
        var (timesteps, losses) = (golden.Tensor("in/timesteps").ToArray<float>(), golden.Tensor("in/loss").ToArray<float>());
        golden.AssertClose("out/weight_before", Tensor.From(weight.Weights(timesteps)));
        weight.Update(timesteps, losses, golden.Config.GetProperty("beta").GetDouble());
        golden.AssertClose("out/weight_after", Tensor.From(weight.Weights(timesteps)));
        golden.AssertClose("out/bucket_losses", Tensor.From(weight.BucketLosses.ToArray()));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Full))]
    public void A_whole_step_of_vae_and_discriminator_is_the_references(string name)
    {
        using var golden = Goldens.Open("vae_gan_loss", name);
        using var scope = new TensorScope();
        using var vae = Vae(golden);
        using var loss = Loss(golden);
        using var parameters = new FlatParameters(("vae", vae), ("", loss));
        var (video, step) = (golden.Tensor("in/x"), golden.Config.GetProperty("global_step").GetInt64());

        var posterior = vae.Encode(video);
        golden.AssertClose("mid/moments", posterior.Moments);
        var reconstruction = vae.Decode(posterior.Sample(golden.Tensor("rand/posterior_noise")));
        golden.AssertClose("mid/reconstruction", reconstruction);
        var terms = loss.Backward(video, reconstruction, posterior, vae.LastWeight, step);
        Assert.All(parameters.Named(parameters.Gradients).Where(p => p.Key.StartsWith("discriminator.", StringComparison.Ordinal)),
            p => Assert.Equal(0, p.Tensor.Abs().Max().Item()));
        var judged = loss.BackwardDiscriminator(video, reconstruction, step);

        CheckTerms(golden, terms, judged);
        var gradients = parameters.Named(parameters.Gradients).ToDictionary(p => p.Key, p => p.Tensor);
        foreach (var key in golden.File.Entries.Keys.Where(key => key.StartsWith("grad/", StringComparison.Ordinal)))
            golden.AssertClose(key, gradients[key["grad/".Length..]]);
    }

    private static void CheckTerms(GoldenCase golden, VaeLossTerms terms, DiscriminatorTerms judged)
    {
        (string Name, double Value)[] values =
        [
            ("loss", terms.Total), ("log.total_loss", terms.Total), ("log.logvar", terms.LogVariance), ("log.kl_loss", terms.Kl),
            ("log.nll_loss", terms.Reconstruction), ("log.rec_loss", terms.Pixel), ("log.perception_loss", terms.Perceptual),
            ("log.d_weight", terms.AdversarialWeight), ("log.disc_factor", terms.AdversarialFactor), ("log.g_loss", terms.Adversarial),
            ("disc_loss", judged.Loss), ("log_d.disc_loss", judged.Loss), ("log_d.logits_real", judged.Real), ("log_d.logits_fake", judged.Fake),
        ];
        foreach (var (name, value) in values)
            golden.AssertClose($"out/{name}", Tensor.Scalar(value));
    }

    private static void CheckDiscriminator(string kind, string name, bool isVideo)
    {
        using var golden = Goldens.Open(kind, name);
        using var scope = new TensorScope();
        using var discriminator = Loaded(golden, new PatchDiscriminator(Config(golden.Config, isVideo)));
        using var parameters = new FlatParameters(("", discriminator));
        var x = golden.Tensor("in/x").Clone();
        x.RequiresGrad = true;
        var logits = discriminator.Forward(x);
        golden.AssertClose("out/logits", logits);
        logits.Mean().Backward();
        golden.AssertClose("grad/x", x.Grad!);
        foreach (var (key, gradient) in parameters.Named(parameters.Gradients).Where(p => golden.Has($"grad/{p.Key}")))
            golden.AssertClose($"grad/{key}", gradient);
    }

    private static DiscriminatorConfig Config(JsonElement config, bool isVideo) => new(
        config.GetProperty("input_nc").GetInt32(), config.GetProperty("ndf").GetInt32(), config.GetProperty("n_layers").GetInt32(), isVideo);

    private static VaeLoss Loss(GoldenCase golden)
    {
        var (config, disc) = (golden.Config, golden.Config.GetProperty("disc"));
        double Number(string name) => config.GetProperty(name).GetDouble();
        var options = new VaeLossOptions
        {
            PixelWeight = Number("pixelloss_weight"), PerceptualWeight = Number("perceptual_weight"), KlWeight = Number("kl_weight"),
            AdversarialWeight = Number("disc_weight"), AdversarialFactor = Number("disc_factor"),
            AdversarialStart = config.GetProperty("disc_start").GetInt64(),
            Adversarial = config.GetProperty("disc_loss").GetString() == "hinge" ? AdversarialLoss.Hinge : AdversarialLoss.Vanilla,
            LogVariance = Number("logvar_init"),
        };
        return Loaded(golden, new VaeLoss(options, new Lpips(Channels(config.GetProperty("lpips_chns"))),
            new PatchDiscriminator(Config(disc, disc.GetProperty("three_d").GetBoolean()))));
    }

    private static CausalVideoVae Vae(GoldenCase golden)
    {
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(golden.Config.GetProperty("vae").GetRawText()), "golden vae"));
        using var state = golden.State("vae_weights_file");
        vae.Load(state, ElementType.Float32);
        return vae;
    }

    private static T Loaded<T>(GoldenCase golden, T module)
        where T : Module
    {
        using var state = golden.State();
        module.Load(state, ElementType.Float32);
        return module;
    }

    private static int[] Channels(JsonElement list) => [.. list.EnumerateArray().Select(c => c.GetInt32())];
}
