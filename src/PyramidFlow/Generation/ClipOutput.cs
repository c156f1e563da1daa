using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Decodes the units of one clip as they come and hands out their frames.</summary>
/// <param name="settings">The clip.</param>
/// <param name="item">Its number in the run.</param>
/// <param name="decoder">Of this clip; it stays the caller's.</param>
/// <param name="options">How many latent frames go at a time.</param>
/// <param name="write">Takes the frames; null when only <see cref="LastFrame"/> is wanted.</param>
internal sealed class ClipOutput(GenerationSettings settings, int item, UnitDecoder decoder, PipelineOptions options, Action<VideoChunk>? write) : IDisposable
{
    // The last frame of each latent frame that a cut history may still begin with, [1, 3, 1, h, w].
    private readonly Dictionary<long, Tensor> lastFrames = [];
    private readonly List<Piece> waiting = [];
    private readonly int frameBytes = 3 * settings.Width * settings.Height;
    private JointFade? fade;
    private long latentFrames;
    private int written, passed;

    /// <summary>Whether nothing is decoded before all latents are there.</summary>
    internal bool Waits => write is not null && options.DecodesByTile(settings.Sampling);

    /// <summary>Whether units may be decoded while the next ones are sampled.</summary>
    internal bool MayOverlap => write is not null && options.Overlaps(settings.Sampling);

    /// <summary>Decodes a unit.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w].</param>
    /// <param name="cancel">Checked before each piece.</param>
    internal void Add(int unit, Tensor latents, CancellationToken cancel)
    {
        PassEarlierFrames(unit);
        using var scope = new TensorScope();
        foreach (var piece in Pieces(unit, latents))
        {
            cancel.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            Put(piece, decoder.Decode(piece.Latents, isEnd: latentFrames + piece.Latents.Size(2) == settings.Sampling.Frames));
        }
    }

    /// <summary>Keeps the latents of a unit for <see cref="Finish"/>.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w]; they stay the caller's.</param>
    internal void Hold(int unit, Tensor latents)
    {
        PassEarlierFrames(unit);
        using var scope = new TensorScope();
        waiting.AddRange(Pieces(unit, latents).Select(piece => piece with { Latents = TensorScope.Release(piece.Latents.Clone()) }));
    }

    /// <summary>Decodes what waits for the end of the clip.</summary>
    /// <param name="begin">Told before each tile how many are done, of how many.</param>
    /// <param name="cancel">Checked before each piece of a tile.</param>
    internal void Finish(Action<int, int> begin, CancellationToken cancel)
    {
        using var scope = new TensorScope();
        foreach (var (piece, frames) in waiting.Zip(decoder.DecodeAll([.. waiting.Select(piece => piece.Latents)], begin, cancel)))
        {
            using var inner = new TensorScope();
            Put(piece, frames);
            frames.Dispose();
        }
    }

    /// <summary>
    /// The last frame of a latent frame, as long as the history window may ask for it: [1, 3, 1, h, w]. Waits until it is decoded where
    /// another thread does that.
    /// </summary>
    /// <param name="latentFrame">Its number in the clip.</param>
    /// <param name="cancel">Ends the waiting.</param>
    internal Tensor LastFrame(long latentFrame, CancellationToken cancel)
    {
        if (!MayOverlap)
            return lastFrames[latentFrame];
        using var wake = cancel.Register(() =>
        {
            lock (lastFrames)
                Monitor.PulseAll(lastFrames);
        });
        lock (lastFrames)
        {
            Tensor? frame;
            while (!lastFrames.TryGetValue(latentFrame, out frame))
            {
                cancel.ThrowIfCancellationRequested();
                Monitor.Wait(lastFrames);
            }

            return frame;
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        fade?.Dispose();
        foreach (var frame in lastFrames.Values.Concat(waiting.Select(piece => piece.Latents)))
            frame.Dispose();
    }

    // A unit in as many latent frames as are decoded at a time; views in the open scope.
    private Piece[] Pieces(int unit, Tensor latents)
    {
        var (total, isGiven) = (latents.Size(2), unit == 0 && settings.GoesOn);
        return [.. UnitDecoder.Pieces(total, options.DecodeWindow, isStart: unit == 0).Select(part =>
            new Piece(latents.Narrow(2, part.Start, part.Count), isGiven, IsJoint: isGiven && part.Start + part.Count == total))];
    }

    // Frames [1, 3, t, h, w] go out.
    private void Put(Piece piece, Tensor frames)
    {
        Remember(frames, piece.Latents.Size(2));
        if (piece.IsJoint && settings.Video is { } video && write is not null)
            fade = new JointFade(FrameBytes.ToPixels(video.Span[^frameBytes..], settings.Width, settings.Height).To(frames.Device), frames.Narrow(2, frames.Size(2) - 1, 1));
        if (!(piece.IsGiven && settings.NewFramesOnly))
            Write((piece.IsGiven || fade is null ? frames : fade.Apply(frames)).Select(0, 0), piece.Latents, piece.IsGiven ? settings.Video : null);
    }

    // Given frames before those that were encoded.
    private void PassEarlierFrames(int unit)
    {
        if (unit > 0 || settings.Video is not { } video)
            return;
        passed = (video.Length / frameBytes) - settings.HistoryFrames;
        if (passed > 0 && !settings.NewFramesOnly)
            Send(passed, video[..(passed * frameBytes)], null);
    }

    // Given frames come out as they came in.
    private void Write(Tensor frames, Tensor latents, ReadOnlyMemory<byte>? given)
    {
        if (write is null)
            return;
        var count = (int)frames.Size(1);
        var rgb = given is { } video ? video.Slice(passed * frameBytes, count * frameBytes) : FrameBytes.Of(frames);
        passed += count;
        Send(count, rgb, LatentClip.Of(latents, decoder.Normalization));
    }

    private void Send(int count, ReadOnlyMemory<byte> rgb, LatentClip? latents)
    {
        write?.Invoke(new VideoChunk(written, count, settings.Width, settings.Height, rgb) { Item = item, Latents = latents });
        written += count;
    }

    private void Remember(Tensor frames, long count)
    {
        var end = latentFrames + count;
        if (settings.Sampling.Window is { } window)
        {
            var last = frames.Size(2) - 1;
            lock (lastFrames)
            {
                for (var latent = Math.Max(latentFrames, end - window); latent < end; latent++)
                    lastFrames[latent] = TensorScope.Release(frames.Narrow(2, last - (VideoLength.Scale * (end - 1 - latent)), 1).Clone());
                foreach (var old in lastFrames.Keys.Where(latent => latent < end - window).ToList())
                {
                    lastFrames.Remove(old, out var frame);
                    frame!.Dispose();
                }

                Monitor.PulseAll(lastFrames);
            }
        }

        latentFrames = end;
    }

    // Latents that are decoded at a time; the last ones of what was given are where new frames join.
    private sealed record Piece(Tensor Latents, bool IsGiven, bool IsJoint);
}
