using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Sprites.Tests;

public class SpriteTextEncodersTests
{
    [Fact]
    public void Made_encoders_are_loaded_and_tell_prompts_apart()
    {
        using var folder = new TemporaryFolder();
        var share = SpriteTextEncoders.Make(folder.Path, seed: 1, steps: 2, null, CancellationToken.None);
        Assert.InRange(share, 0, 1);
        using var prompts = SpriteTextEncoders.Load(folder.Path);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var features = prompts.Encode([SpriteCaptions.Words[0], $"{SpriteCaptions.Words[1]} {SpriteCaptions.Words[2]}", ""]);
        Assert.Empty(features.Warnings);
        Assert.Equal([3, 128], features.Pooled.Shape);
        Assert.Equal((3L, prompts.TokenWidth), (features.Tokens.Size(0), features.Tokens.Size(2)));
        Assert.NotEqual(features.Pooled.Select(0, 0).ToArray<float>(), features.Pooled.Select(0, 1).ToArray<float>());
    }
}
