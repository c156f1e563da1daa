using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Tests;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Sprites.Tests.Vae;

public sealed class LinearAutoencoderTests : IDisposable
{
    private readonly TensorScope scope = new();
    private readonly LinearAutoencoder linear = new([16, 32, 64], 16);
    private readonly Tensor video;

    public LinearAutoencoderTests()
    {
        using var generator = new RandomGenerator(1);
        linear.Initialize(generator);
        video = Tensor.Cat([.. Enumerable.Range(0, 6).Select(i => SpriteClips.RenderChannelsLast(SpriteWorld.Scene(1, i), 17))], 0);
        linear.InitializeFrom(video);
    }

    public void Dispose()
    {
        scope.Dispose();
        linear.Dispose();
    }

    [Fact]
    public void Halves_height_width_and_time_three_times_and_back()
    {
        using var noGrad = NoGrad.Begin();
        var latents = linear.Encode(video);
        Assert.Equal([6, 3, 16, 16, 16], latents.Shape);
        Assert.Equal(video.Shape, linear.Decode(latents).Shape);
    }

    [Fact]
    public void The_first_frame_does_not_depend_on_later_ones()
    {
        using var noGrad = NoGrad.Begin();
        var image = linear.Encode(video.Narrow(1, 0, 1));
        var latents = linear.Encode(video);
        Assert.InRange((image - latents.Narrow(1, 0, 1)).Abs().Max().Item(), 0, 1e-5);
        var decoded = linear.Decode(latents).Narrow(1, 0, 1);
        Assert.InRange((linear.Decode(image) - decoded).Abs().Max().Item(), 0, 1e-5);
    }

    [Fact]
    public void Principal_components_already_show_the_picture()
    {
        using var noGrad = NoGrad.Begin();
        Assert.InRange(Reconstruction.PeakSignalToNoise(video, linear.Decode(linear.Encode(video))), 20, 60);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(0.7)]
    [InlineData(1)]
    public void Normalising_the_latents_leaves_the_reconstruction_as_it_is(double power)
    {
        using var noGrad = NoGrad.Begin();
        var before = linear.Decode(linear.Encode(video));
        linear.NormalizeLatents(video, power);
        var latents = linear.Encode(video);
        Assert.InRange((linear.Decode(latents) - before).Abs().Max().Item(), 0, 1e-4);
        Assert.InRange(latents.Flatten(0, 3).Mean([0]).Abs().Max().Item(), 0, 1e-3);
        if (power == 1)
        {
            var size = (latents * latents).Flatten(0, 3).Mean([0]).Sqrt();
            Assert.InRange(size.Max().Item() / size.Min().Item(), 1, 1.01);
        }
    }

    [Fact]
    public void The_network_it_is_written_into_computes_the_same_maps()
    {
        using var noGrad = NoGrad.Begin();
        linear.NormalizeLatents(video, 0.7);
        var config = SpriteVaeConfig.Load(CommittedConfig.Path("sprites-vae.json")).Vae;
        using var vae = new CausalVideoVae(config);
        using var generator = new RandomGenerator(1);
        vae.Initialize(generator);
        LinearStart.Write(vae, linear, config.EncoderNormNumGroups);

        var clip = video.Narrow(0, 0, 1).Narrow(2, 32, 64).Narrow(3, 32, 64);
        var expected = linear.Encode(clip);
        var latents = vae.Encode(clip.Permute(0, 4, 1, 2, 3).Contiguous()).Mode;
        Assert.InRange((latents.Permute(0, 2, 3, 4, 1) - expected).Norm().Item() / expected.Norm().Item(), 0, 0.02);
        var decoded = vae.Decode(expected.Permute(0, 4, 1, 2, 3).Contiguous()).Permute(0, 2, 3, 4, 1);
        Assert.InRange(Reconstruction.PeakSignalToNoise(linear.Decode(expected).Clamp(-1, 1), decoded), 35, 200);
    }

    [Fact]
    public void Maps_of_a_folder_are_fitted_once()
    {
        using var folder = new TemporaryFolder();
        var config = SpriteVaeConfig.Load(CommittedConfig.Path("sprites-vae.json")) with { Frames = 9, LinearSteps = 2 };
        using var fitted = LinearStartFit.OpenOrFit(folder.File("linear.safetensors"), config, null, CancellationToken.None);
        using var read = LinearStartFit.OpenOrFit(folder.File("linear.safetensors"), config with { Seed = 2 }, null, CancellationToken.None);
        using var noGrad = NoGrad.Begin();
        Assert.Equal(fitted.Encode(video).ToArray<float>(), read.Encode(video).ToArray<float>());
    }
}
