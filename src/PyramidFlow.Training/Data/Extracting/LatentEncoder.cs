using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Data.Extracting;

/// <summary>Encodes decoded clips window by window.</summary>
internal sealed class LatentEncoder(CausalVideoVae vae, LatentExtractionOptions options)
{
    /// <summary>Encodes a clip and writes its latents.</summary>
    /// <param name="rgb">[frames, height, width, 3].</param>
    /// <param name="bucket">Its size and length.</param>
    /// <param name="path">File to write.</param>
    /// <param name="madeFrom">What the file says about itself.</param>
    /// <exception cref="NonFiniteException">The VAE gives numbers that are not finite; nothing is written.</exception>
    public void Write(byte[] rgb, Bucket bucket, string path, string madeFrom)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var posterior = new DiagonalGaussian(Moments(rgb, bucket));
        var latent = options.Sample ? Drawn(posterior, path) : posterior.Mode;                         // [1, c, t, h, w]
        var stored = latent.To(options.StoredType).To(Device.Cpu);
        if (!stored.AllFinite())
            throw NotFinite(latent, path);
        LatentItemFile.Write(path, stored, MadeFile.Metadata(madeFrom));
    }

    private NonFiniteException NotFinite(Tensor latent, string path) => new(ModelPart.Vae, $"when {Path.GetFileName(path)} was to be written",
        latent.AllFinite() ? $"the latents have numbers too large for {options.StoredType}: store them in another type" : null);

    private Tensor Drawn(DiagonalGaussian posterior, string path)
    {
        using var generator = new RandomGenerator(Fingerprint.Seed(options.Seed, Path.GetFileName(path)));
        return posterior.Sample(generator);
    }

    // Only a window's pixels and activations are in memory as numbers.
    private Tensor Moments(byte[] rgb, Bucket bucket)
    {
        using var stream = vae.EncodeStream(options.Tiles);
        var weight = vae.LastWeight.Value;
        var frameBytes = bucket.Width * bucket.Height * 3;
        var pieces = new List<Tensor>();
        for (int start = 0, end = Math.Min(options.Window + 1, bucket.Frames); start < bucket.Frames; (start, end) = (end, Math.Min(end + options.Window, bucket.Frames)))
        {
            using var window = new TensorScope();
            var pixels = FrameBytes.ToPixels(rgb.AsSpan(start * frameBytes, (end - start) * frameBytes), bucket.Width, bucket.Height);
            pieces.Add(window.Keep(stream.Push(pixels.To(weight.Device).To(weight.Type), isEnd: end == bucket.Frames)));            // [1, 2c, t', h, w]
        }

        return pieces.Count == 1 ? pieces[0] : Tensor.Cat([.. pieces], 2);
    }
}
