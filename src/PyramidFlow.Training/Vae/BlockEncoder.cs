using PyramidFlow.Torch;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>
/// A trained encoder of the sprites world as two matrices: it was made from linear maps of 8x8 pixels x 8 frames
/// (<see cref="LinearStart"/>), so what it computes can be read off a few clips, and is then a hundred times faster.
/// </summary>
public sealed class BlockEncoder : IDisposable
{
    private const int Clips = 8, Frames = 17, Block = 8;
    private const double NoiseLevel = 0.1, Ridge = 1e-7;
    private const long Stream = 400;

    private readonly Tensor first;
    private readonly Tensor later;

    private BlockEncoder(Tensor first, Tensor later) => (this.first, this.later) = (first, later);

    /// <summary>Finds the matrices by least squares over noisy training clips.</summary>
    /// <param name="vae">The VAE, in float32.</param>
    /// <param name="cancel">Checked for each clip.</param>
    public static BlockEncoder Of(CausalVideoVae vae, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var noise = new RandomGenerator(Stream);
        var videos = new List<Tensor>();
        var latents = new List<Tensor>();
        for (var i = 0; i < Clips; i++)
        {
            cancel.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            var clean = SpriteClips.RenderChannelsLast(SpriteWorld.Scene(Stream, i), Frames);                  // [1, t, h, w, 3]
            var video = clean.Add(Tensor.Randn(clean.Shape, noise), NoiseLevel);
            videos.Add(inner.Keep(video));
            latents.Add(inner.Keep(vae.Encode(video.Permute(0, 4, 1, 2, 3).Contiguous()).Mode.Permute(0, 2, 3, 4, 1)));
        }

        var (pixels, codes) = (Tensor.Cat([.. videos], 0), Tensor.Cat([.. latents], 0));                       // [b, t', h/8, w/8, c]
        var units = codes.Size(1) - 1;
        return new BlockEncoder(
            TensorScope.Release(Solve(Blocks(pixels.Narrow(1, 0, 1), 1), codes.Narrow(1, 0, 1))),
            TensorScope.Release(Solve(Blocks(pixels.Narrow(1, 1, Block * units), Block), codes.Narrow(1, 1, units))));
    }

    /// <summary>Video [b, 1 + 8n, h, w, 3] in [-1, 1] to latents [b, c, 1 + n, h/8, w/8].</summary>
    public Tensor Encode(Tensor video)
    {
        using var scope = new TensorScope();
        var start = Blocks(video.Narrow(1, 0, 1), 1).Matmul(first);                                            // [b, 1, h/8, w/8, c]
        var rest = Blocks(video.Narrow(1, 1, video.Size(1) - 1), Block).Matmul(later);                         // [b, n, h/8, w/8, c]
        return scope.Keep(Tensor.Cat([start, rest], 1).Permute(0, 4, 1, 2, 3));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        first.Dispose();
        later.Dispose();
    }

    // Every block as a row of its pixels and a 1, which carries the bias.
    private static Tensor Blocks(Tensor video, int frames)
    {
        var s = video.Shape;                                                                                   // [b, t, h, w, 3]
        var rows = video.Reshape(s[0], s[1] / frames, frames, s[2] / Block, Block, s[3] / Block, Block, s[4])
            .Permute(0, 1, 3, 5, 2, 4, 6, 7).Flatten(4, 7);                                                    // [b, t/f, h/8, w/8, p]
        return Tensor.Cat([rows, Tensor.Ones([.. rows.Shape[..^1], 1])], -1);
    }

    private static Tensor Solve(Tensor inputs, Tensor outputs)
    {
        var x = inputs.Flatten(0, 3).To(ElementType.Float64);                                                  // [n, p + 1]
        var y = outputs.Flatten(0, 3).To(ElementType.Float64);                                                 // [n, c]
        var transposed = x.Transpose(0, 1);
        var square = transposed.Matmul(x);
        var ridge = Tensor.Eye(square.Size(0), ElementType.Float64) * (Ridge * x.Size(0));
        return (square + ridge).Inverse().Matmul(transposed.Matmul(y)).To(ElementType.Float32);                // [p + 1, c]
    }
}
