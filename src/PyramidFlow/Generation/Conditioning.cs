using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Encodes what conditions a clip (a picture, frames or latents) as the normalised latents of its first unit.</summary>
/// <param name="models">The VAE among them.</param>
/// <param name="normalization">Latent statistics: those of pictures for the first latent frame, those of video for the others.</param>
/// <param name="options">Tiles and frames at a time.</param>
/// <param name="warn">Takes warnings for the user.</param>
internal sealed class Conditioning(PipelineModels models, LatentNormalization normalization, PipelineOptions options, Action<string> warn)
{
    /// <summary>The latents of a clip's first unit, [1, c, t, h, w]; null where nothing is given.</summary>
    /// <param name="settings">The clip.</param>
    /// <param name="noise">Draws of the posterior, where it is sampled.</param>
    /// <param name="encoded">Takes the share of each piece, as soon as it is encoded.</param>
    /// <param name="cancellationToken">Checked before each piece.</param>
    internal Tensor? Of(GenerationSettings settings, INoiseSource noise, Action<double> encoded, CancellationToken cancellationToken)
    {
        if (settings.Latents is { } latents)
        {
            using var own = new TensorScope();
            encoded(1);
            var given = latents.ToTensor().To(models.Type);
            return given.AllFinite() ? own.Keep(given.To(models.Device))
                : throw RequestFault.LatentsOverflow(models.Type);
        }

        if (settings.Pixels is not { } bytes)
            return null;
        var last = bytes[^((settings.IsContinuation ? settings.HistoryFrames : 1) * settings.FrameBytes)..];
        using var scope = new TensorScope();
        var posterior = Checked(vae => Encode(vae, last.Span, settings.Width, settings.Height, encoded, cancellationToken));
        var latent = settings.SampleImage
            ? posterior.Sample(noise.Posterior(posterior.Mean.Shape).To(posterior.Mean.Type).To(models.Device))
            : posterior.Mode;
        return scope.Keep(normalization.Normalize(latent, isStart: true).To(models.Type));
    }

    /// <summary>Makes the draws of <see cref="Of"/> where the latents are known already.</summary>
    /// <param name="settings">The clip.</param>
    /// <param name="noise">Draws of the posterior, where it is sampled.</param>
    /// <param name="channels">Channels of the latents.</param>
    internal static void Skip(GenerationSettings settings, INoiseSource noise, long channels)
    {
        using var scope = new TensorScope();
        if (settings is { SampleImage: true, Pixels: not null })
            noise.Posterior([1, channels, settings.Sampling.First, settings.Sampling.Height, settings.Sampling.Width]);
    }

    /// <summary>A picture as the first latent frame of a clip.</summary>
    /// <param name="pixels">[1, 3, 1, h, w] in -1 to 1, of the VAE's type.</param>
    internal Tensor OfPicture(Tensor pixels)
    {
        using var scope = new TensorScope();
        var posterior = Checked(vae => vae.Encode(pixels.To(WeightType(vae)), tiles: options.Tiles).Moments);
        return scope.Keep(normalization.Normalize(posterior.Mode, isStart: true).To(models.Type));
    }

    private Tensor Encode(CausalVideoVae vae, ReadOnlySpan<byte> rgb, int width, int height, Action<double> encoded, CancellationToken cancellationToken)
    {
        using var stream = vae.EncodeStream(options.Tiles);
        using var scope = new TensorScope();
        var moments = new List<Tensor>();
        var frame = 3 * width * height;
        var frames = rgb.Length / frame;
        for (var (start, count) = (0, Math.Min(frames, options.EncodeWindow + 1)); count > 0;
            (start, count) = (start + count, Math.Min(frames - start - count, options.EncodeWindow)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            var pixels = FrameBytes.ToPixels(rgb.Slice(start * frame, count * frame), width, height);
            moments.Add(inner.Keep(stream.Push(pixels.To(WeightType(vae)).To(models.Device), isEnd: start + count == frames)));      // [1, 2c, t, h, w]
            encoded((double)count / frames);
        }

        return scope.Keep(Tensor.Cat([.. moments], 2));                                              // [1, 2c, t, h, w]
    }

    private DiagonalGaussian Checked(Func<CausalVideoVae, Tensor> encode)
    {
        models.MakeRoom(models.Vae);
        var moments = encode(models.Vae);
        if (models.Wider is { } wider && !moments.AllFinite())
        {
            warn($"numbers of the VAE went beyond {models.Type}: what is gone on from was encoded again in float32");
            moments = encode(wider.Vae());
        }

        if (!moments.AllFinite())
            throw new NonFiniteException(ModelPart.Vae, "when what is gone on from was encoded");
        return new DiagonalGaussian(moments);
    }

    private ElementType WeightType(CausalVideoVae vae) => vae == models.Vae ? models.Type : ElementType.Float32;
}

/// <summary>Reads the video that a clip continues (<see cref="GenerationOptions.Video"/>) from a file.</summary>
public static class ConditioningVideo
{
    /// <summary>
    /// Reads the end of a video, as many frames as condition a clip, and hands on the frames before it, so that no more than that
    /// end is held in memory.
    /// </summary>
    /// <param name="path">The video file.</param>
    /// <param name="options">Width, height and rate of the clip that continues it; width and height must be given.</param>
    /// <param name="most">Most frames that condition the clip, at least 1.</param>
    /// <param name="earlier">Takes the frames before the end, one at a time; null drops them, which is faster.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <returns>1 + a multiple of 8 frames, interleaved RGB bytes.</returns>
    /// <exception cref="MediaException">It is no video, is damaged or has no frames, or a value is impossible.</exception>
    public static async Task<ReadOnlyMemory<byte>> ReadAsync(string path, VideoReadOptions options, int most,
        Func<ReadOnlyMemory<byte>, Task>? earlier = null, CancellationToken cancellationToken = default)
    {
        if (options is not { Width: { } width, Height: { } height })
            throw new ArgumentException("width and height of the clip are missing: give both", nameof(options));
        var frameBytes = width * height * 3;
        if (earlier is null)
        {
            var tail = await VideoTail.ReadAsync(path, most, width, height, options.Fps, cancellationToken).ConfigureAwait(false);
            return tail.Rgb[((tail.Count - VideoLength.Fitting(tail.Count)) * frameBytes)..];
        }

        var last = new Queue<ReadOnlyMemory<byte>>();
        await foreach (var frame in VideoReader.ReadAsync(path, options with { FramesPerChunk = 1 }, cancellationToken).ConfigureAwait(false))
        {
            last.Enqueue(frame.Rgb);
            if (last.Count > most)
                await earlier(last.Dequeue()).ConfigureAwait(false);
        }

        while (last.Count > VideoLength.Fitting(last.Count))
            await earlier(last.Dequeue()).ConfigureAwait(false);
        var rgb = new byte[(long)last.Count * frameBytes];
        foreach (var (i, frame) in last.Index())
            frame.CopyTo(rgb.AsMemory(i * frameBytes));
        return rgb;
    }

    /// <summary>The number of frames that <see cref="ReadAsync"/> returns, for a plan. Decodes so many frames at most, and keeps none.</summary>
    /// <param name="path">The video file.</param>
    /// <param name="framesPerSecond">Rate of the clip.</param>
    /// <param name="most">Most frames that condition the clip, at least 1.</param>
    /// <param name="cancellationToken">Stops the decoder.</param>
    /// <returns>1 + a multiple of 8.</returns>
    /// <exception cref="MediaException">It is no video, is damaged or has no frames, or a value is impossible.</exception>
    public static async Task<int> CountAsync(string path, double framesPerSecond, int most, CancellationToken cancellationToken = default)
    {
        const int side = 16;                                                                         // pixels are not looked at
        var options = new VideoReadOptions { Width = side, Height = side, Fps = framesPerSecond, MaxFrames = most };
        var count = 0;
        await foreach (var frames in VideoReader.ReadAsync(path, options, cancellationToken).ConfigureAwait(false))
            count += frames.Count;
        return VideoLength.Fitting(count);
    }
}
