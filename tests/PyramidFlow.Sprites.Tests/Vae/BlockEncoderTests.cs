using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Tests;

namespace PyramidFlow.Sprites.Tests.Vae;

public class BlockEncoderTests
{
    [Fact]
    public void Computes_what_the_shipped_encoder_does()
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        var folder = CheckpointFolder.Open(Path.GetFullPath(Path.Combine(CommittedConfig.Path("sprites-dit.json"), "..", "..", "models", "sprites"))).Vae;
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Read(folder.ConfigFile));
        using var weights = folder.OpenWeights();
        vae.Load(weights, ElementType.Float32);
        using var encoder = BlockEncoder.Fit(vae, CancellationToken.None);
        for (var clip = 0; clip < 2; clip++)
        {
            var video = SpriteClips.RenderChannelsLast(SpriteWorld.EvaluationScene(0, clip), 17);
            var expected = vae.Encode(video.Permute(0, 4, 1, 2, 3).Contiguous()).Mode;
            var error = (encoder.Encode(video) - expected).Abs().Mean().Item() / expected.Abs().Mean().Item();
            TestContext.Current.TestOutputHelper?.WriteLine($"relative error {error:E2}");
            Assert.InRange(error, 0, 2e-3);
        }
    }
}
