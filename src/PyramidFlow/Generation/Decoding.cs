using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Decodes the units of one clip in their order and hands out their frames.</summary>
/// <param name="settings">The clip.</param>
/// <param name="item">Its number in the run.</param>
/// <param name="decoder">The decoder of this clip; it stays the caller's.</param>
/// <param name="options">How many latent frames are decoded at a time.</param>
/// <param name="write">Takes the frames; null where only <see cref="LastFrame"/> is needed.</param>
internal sealed class ClipOutput(GenerationSettings settings, int item, UnitDecoder decoder, PipelineOptions options, Action<VideoChunk>? write) : IDisposable
{
    // The last decoded frame of each latent frame that a cut history may still begin with, [1, 3, 1, h, w].
    private readonly Dictionary<long, Tensor> lastFrames = [];
    private readonly List<Piece> waiting = [];
    private readonly int frameBytes = settings.FrameBytes;
    private JointFade? fade;
    private long latentFrames;
    private int written, passed;

    /// <summary>Does what may fail in this process alone, where several decode together; null does it at once.</summary>
    internal Action<Action>? Guard { get; init; }

    /// <summary>Whether decoding waits for all latents.</summary>
    internal bool Waits => write is not null && options.DecodesByTile(settings.Sampling);

    /// <summary>Whether units may be decoded while the next ones are sampled.</summary>
    internal bool MayOverlap => write is not null && options.Overlaps(settings.Sampling);

    /// <summary>Decodes a unit.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w].</param>
    /// <param name="cancellationToken">Checked before each piece.</param>
    internal void Add(int unit, Tensor latents, CancellationToken cancellationToken)
    {
        PassEarlierFrames(unit);
        using var scope = new TensorScope();
        foreach (var piece in Pieces(unit, latents))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            Put(piece, decoder.Take(piece.Latents, isEnd: latentFrames + piece.Latents.Size(2) == settings.Sampling.Frames));
        }
    }

    /// <summary>Holds the latents of a unit for <see cref="Finish"/>.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w]; they stay the caller's.</param>
    internal void Hold(int unit, Tensor latents)
    {
        PassEarlierFrames(unit);
        using var scope = new TensorScope();
        waiting.AddRange(Pieces(unit, latents).Select(piece => piece with { Latents = TensorScope.Release(piece.Latents.Clone()) }));
    }

    /// <summary>Decodes all held latents.</summary>
    /// <param name="begin">Called before each tile with the number of tiles done and the number of all.</param>
    /// <param name="cancellationToken">Checked before each piece of a tile.</param>
    internal void Finish(Action<int, int> begin, CancellationToken cancellationToken)
    {
        using var scope = new TensorScope();
        foreach (var (piece, frames) in waiting.Zip(decoder.DecodeAll([.. waiting.Select(piece => piece.Latents)], begin, cancellationToken)))
        {
            using var inner = new TensorScope();
            Put(piece, frames);
            frames.Dispose();
        }
    }

    /// <summary>
    /// The last decoded frame of a latent frame, as long as the history window may need it: [1, 3, 1, h, w]. Waits where another
    /// thread still decodes it.
    /// </summary>
    /// <param name="latentFrame">Its number in the clip.</param>
    /// <param name="cancellationToken">Ends the waiting.</param>
    internal Tensor LastFrame(long latentFrame, CancellationToken cancellationToken)
    {
        if (!MayOverlap)
            return lastFrames[latentFrame];
        using var wake = cancellationToken.Register(() =>
        {
            lock (lastFrames)
                Monitor.PulseAll(lastFrames);
        });
        lock (lastFrames)
        {
            Tensor? frame;
            while (!lastFrames.TryGetValue(latentFrame, out frame))
            {
                cancellationToken.ThrowIfCancellationRequested();
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

    // The parts of a unit that are decoded at a time; views in the open scope.
    private Piece[] Pieces(int unit, Tensor latents)
    {
        var (total, isGiven) = (latents.Size(2), unit == 0 && settings.IsContinuation);
        return [.. UnitDecoder.Pieces(total, options.DecodeWindow, isStart: unit == 0).Select(part =>
            new Piece(latents.Narrow(2, part.Start, part.Count), isGiven, IsJoint: isGiven && part.Start + part.Count == total))];
    }

    // Hands out frames [1, 3, t, h, w], unless another process has them.
    private void Put(Piece piece, Tensor? frames)
    {
        if (frames is not null)
            Guarded(() => HandOut(piece, frames));
        latentFrames += piece.Latents.Size(2);
    }

    private void HandOut(Piece piece, Tensor frames)
    {
        Remember(frames, piece.Latents.Size(2));
        if (piece.IsJoint && settings.Video is { } video && write is not null)
            fade = new JointFade(FrameBytes.ToPixels(video.Span[^frameBytes..], settings.Width, settings.Height).To(frames.Device), frames.Narrow(2, frames.Size(2) - 1, 1));
        if (!(piece.IsGiven && settings.NewFramesOnly))
            Write((piece.IsGiven || fade is null ? frames : fade.Apply(frames)).Select(0, 0), piece.Latents, piece.IsGiven ? settings.Video : null);
    }

    // Hands out the given frames before those that were encoded.
    private void PassEarlierFrames(int unit)
    {
        if (unit > 0 || settings.Video is not { } video)
            return;
        passed = (video.Length / frameBytes) - settings.HistoryFrames;
        if (passed > 0 && !settings.NewFramesOnly)
            Guarded(() => Send(passed, video[..(passed * frameBytes)], null));
    }

    private void Guarded(Action work)
    {
        if (Guard is null)
            work();
        else
            Guard(work);
    }

    // Given frames are handed out unchanged.
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
    }

    // Latents that are decoded at a time; new frames join the last given ones.
    private sealed record Piece(Tensor Latents, bool IsGiven, bool IsJoint);
}

/// <summary>Decides when the units of a clip are decoded: in turn with sampling, beside it, or tile by tile at the end.</summary>
/// <param name="output">Decodes units and hands out their frames; used by nobody else meanwhile.</param>
/// <param name="meter">Reports each unit, on the sampling thread.</param>
/// <param name="cancellationToken">Checked before each piece of a unit.</param>
internal abstract class UnitDecoding(ClipOutput output, ProgressMeter meter, CancellationToken cancellationToken) : IDisposable
{
    /// <summary>Starts the decoding of a clip.</summary>
    /// <param name="output">Decodes units and hands out their frames.</param>
    /// <param name="meter">Reports progress, on the sampling thread.</param>
    /// <param name="models">Those that make room for the VAE.</param>
    /// <param name="units">Units of the clip.</param>
    /// <param name="cancellationToken">Checked before each piece of a unit.</param>
    internal static UnitDecoding Begin(ClipOutput output, ProgressMeter meter, PipelineModels models, int units, CancellationToken cancellationToken) =>
        output.Waits ? new DecodingByTile(output, meter, models, units, cancellationToken)
        : output.MayOverlap ? new OverlappedDecoding(output, meter, cancellationToken)
        : new DecodingInTurn(output, meter, models, cancellationToken);

    /// <summary>Cancelled when the clip will not be finished: by the caller, or because decoding failed.</summary>
    internal virtual CancellationToken Stopped => cancellationToken;

    private protected ClipOutput Output => output;

    private protected ProgressMeter Meter => meter;

    /// <summary>Takes a unit as soon as it is sampled.</summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="latents">Normalised latents, [1, c, t, h, w]; they stay the caller's.</param>
    internal abstract void Add(int unit, Tensor latents);

    /// <summary>Finishes the clip after its last unit; returns when all units are decoded.</summary>
    internal virtual void Complete()
    {
    }

    /// <summary>Throws the error of a decoding thread, if there was one.</summary>
    internal virtual void ThrowIfFailed()
    {
    }

    /// <inheritdoc/>
    public virtual void Dispose()
    {
    }
}

/// <summary>Decodes each unit before the next one is sampled.</summary>
internal sealed class DecodingInTurn(ClipOutput output, ProgressMeter meter, PipelineModels models, CancellationToken cancellationToken)
    : UnitDecoding(output, meter, cancellationToken)
{
    internal override void Add(int unit, Tensor latents)
    {
        Meter.Begin(GenerationPhase.Decoding, unit);
        models.MakeRoom(models.Vae);
        Output.Add(unit, latents, Stopped);
        Meter.Decoded(unit);
    }
}

/// <summary>
/// Decodes each unit together with other processes (<see cref="SharedDecoder"/>). Each unit that is begun is finished by all of them: before it, the first one says whether frames are still wanted, and
/// what fails when it hands them out is kept until the run is left.
/// </summary>
/// <param name="output">Of the clip.</param>
/// <param name="meter">Reports each unit.</param>
/// <param name="models">Those that make room for the VAE.</param>
/// <param name="shared">The processes.</param>
/// <param name="run">The run that they make.</param>
/// <param name="wants">Whether the first process wants frames at all; the others do not decide.</param>
/// <param name="cancellationToken">Checked before each unit.</param>
internal sealed class DecodingTogether(ClipOutput output, ProgressMeter meter, PipelineModels models, SharedDecoder shared, CommonRun run, bool wants, CancellationToken cancellationToken)
    : UnitDecoding(output, meter, cancellationToken)
{
    /// <summary>Whether a unit was not decoded, because nobody wants its frames.</summary>
    internal bool HasSkipped { get; private set; }

    internal override void Add(int unit, Tensor latents)
    {
        run.Do(Stopped.ThrowIfCancellationRequested);
        HasSkipped |= !shared.FirstSays(wants && !run.HasFailed);
        if (HasSkipped)
            return;
        Meter.Begin(GenerationPhase.Decoding, unit);
        models.MakeRoom(models.Vae);
        try
        {
            Output.Add(unit, latents, CancellationToken.None);
        }
        catch (NonFiniteException e)
        {
            run.Do(() => ExceptionDispatchInfo.Throw(e));
        }

        Meter.Decoded(unit);
    }
}

/// <summary>Decodes after the last unit, each tile through the whole clip (<see cref="PipelineOptions.TileByTile"/>).</summary>
/// <param name="output">Of the clip.</param>
/// <param name="meter">Reports each tile.</param>
/// <param name="models">Those that make room for the VAE.</param>
/// <param name="units">Units of the clip.</param>
/// <param name="cancellationToken">Checked before each piece of a tile.</param>
internal sealed class DecodingByTile(ClipOutput output, ProgressMeter meter, PipelineModels models, int units, CancellationToken cancellationToken)
    : UnitDecoding(output, meter, cancellationToken)
{
    internal override void Add(int unit, Tensor latents) => Output.Hold(unit, latents);

    internal override void Complete()
    {
        Meter.Begin(GenerationPhase.Decoding, units - 1);
        models.MakeRoom(models.Vae);
        Output.Finish(Meter.DecodedShare, Stopped);
        Meter.DecodedShare(1, 1);
    }
}

/// <summary>
/// Decodes units on a thread of its own while the next ones are sampled. On a GPU both threads queue their work on the same
/// stream, in the order of the calls: decoding fills the gaps between sampling's many small operations.
/// </summary>
internal sealed class OverlappedDecoding : UnitDecoding
{
    private const int PollMilliseconds = 100;

    private readonly BlockingCollection<(int Unit, Tensor Latents)> waiting = [];
    private readonly CancellationTokenSource stop;
    private readonly Task working;
    private volatile int decoded;
    private int told;

    /// <summary>Starts the thread; its operators use as many threads as those of this thread.</summary>
    internal OverlappedDecoding(ClipOutput output, ProgressMeter meter, CancellationToken cancellationToken)
        : base(output, meter, cancellationToken)
    {
        stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var threads = TorchRuntime.Threads;
        working = Task.Factory.StartNew(() => Decode(threads), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    internal override CancellationToken Stopped => stop.Token;

    internal override void Add(int unit, Tensor latents)
    {
        waiting.Add((unit, TensorScope.Release(latents.Clone())), CancellationToken.None);
        Tell();
    }

    internal override void Complete()
    {
        waiting.CompleteAdding();
        Meter.Begin(GenerationPhase.Decoding, decoded);
        while (Task.WaitAny([working], PollMilliseconds) < 0)
            Tell();
        working.GetAwaiter().GetResult();
        Tell();
    }

    internal override void ThrowIfFailed()
    {
        if (stop.IsCancellationRequested)
            working.GetAwaiter().GetResult();
    }

    public override void Dispose()
    {
        stop.Cancel();
        waiting.CompleteAdding();
        Task.WaitAny(working);
        _ = working.Exception;                                                                       // observed: Complete and ThrowIfFailed throw it
        while (waiting.TryTake(out var unit))
            unit.Latents.Dispose();
        waiting.Dispose();
        stop.Dispose();
    }

    private void Decode(int threads)
    {
        try
        {
            TorchRuntime.UseThreads(threads);
            using var noGrad = NoGrad.Begin();
            foreach (var (unit, latents) in waiting.GetConsumingEnumerable(stop.Token))
            {
                using (latents)
                    Output.Add(unit, latents, stop.Token);
                decoded = unit + 1;
            }
        }
        catch
        {
            stop.Cancel();
            throw;
        }
    }

    private void Tell()
    {
        for (; told < decoded; told++)
            Meter.Decoded(told);
    }
}

/// <summary>
/// Hides the colour step between given frames and decoded ones: a VAE reproduces a frame a few levels off, which shows where its frames follow
/// given ones. The difference at the last given frame, smoothed so that it has no outlines of that frame, is added to the next
/// frames with falling weight.
/// </summary>
internal sealed class JointFade : IDisposable
{
    private const int Frames = 24, Smoothing = 16;

    private readonly Tensor shade;
    private int done;

    /// <summary>Compares a frame.</summary>
    /// <param name="given">The given frame, [1, 3, 1, h, w] in -1 to 1.</param>
    /// <param name="decoded">The same frame as the VAE decodes it.</param>
    internal JointFade(Tensor given, Tensor decoded)
    {
        using var scope = new TensorScope();
        var off = (given.To(ElementType.Float32) - decoded.To(ElementType.Float32).Clamp(-1, 1)).Squeeze(2);    // [1, 3, h, w]
        var smooth = off.AvgPool2d(Smoothing, Smoothing).InterpolateBilinear(off.Size(2), off.Size(3));
        shade = TensorScope.Release(smooth.Unsqueeze(2));                                             // [1, 3, 1, h, w]
    }

    /// <summary>Adds the remaining difference to the next frames.</summary>
    /// <param name="frames">[1, 3, t, h, w].</param>
    internal Tensor Apply(Tensor frames)
    {
        if (done >= Frames)
            return frames;
        using var scope = new TensorScope();
        var count = (int)frames.Size(2);
        var shares = Enumerable.Range(done + 1, count).Select(frame => Math.Max(0, 1 - (frame / (Frames + 1f)))).ToArray();
        done += count;
        return scope.Keep(frames + (shade * Tensor.From(shares, 1, 1, count, 1, 1).To(frames.Device)).To(frames.Type));
    }

    /// <inheritdoc/>
    public void Dispose() => shade.Dispose();
}
