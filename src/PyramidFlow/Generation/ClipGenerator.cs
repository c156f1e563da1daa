using PyramidFlow.Media;

namespace PyramidFlow.Generation;

/// <summary>A clip to make from files.</summary>
/// <param name="Plan">How it is made; one clip, whose picture or video is not read yet.</param>
/// <param name="Notes">What its files say about it.</param>
/// <param name="FramesPerSecond">Rate of the checkpoint, at which a video is read (<see cref="Models.PipelineSettings.FramesPerSecond"/>).</param>
public sealed record ClipInputs(GenerationPlan Plan, GenerationNotes Notes, double FramesPerSecond)
{
    /// <summary>The picture or video that the plan begins with; null where it begins with neither.</summary>
    public string? ConditioningFile { get; init; }
}

/// <summary>A clip that was made.</summary>
/// <param name="Settings">Its settings.</param>
/// <param name="Frames">Frames that were written, those of a continued video among them.</param>
/// <param name="Warnings">Warnings for the user, each once.</param>
public sealed record ClipResult(GenerationSettings Settings, int Frames, IReadOnlyList<string> Warnings);

/// <summary>Takes the frames of one clip as they come, for example into files.</summary>
public interface IFrameSink
{
    /// <summary>Begins, before the model is loaded.</summary>
    /// <param name="notes">Size, rate and prompt of the clip, and what its files say about it.</param>
    void Begin(GenerationNotes notes);

    /// <summary>Announces the number of further frames.</summary>
    /// <param name="frames">Frames that the model gives, without those of a continued video that were written before.</param>
    void Expect(int frames);

    /// <summary>Takes frames.</summary>
    /// <param name="rgb">Whole frames, interleaved RGB bytes.</param>
    /// <param name="cancellationToken">Stops the writing.</param>
    Task WriteAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken);

    /// <summary>A chunk was written.</summary>
    /// <param name="chunk">The chunk, with its latents.</param>
    void ChunkDone(VideoChunk chunk);

    /// <summary>Completes what was written.</summary>
    /// <param name="cancellationToken">Stops the writing.</param>
    Task CompleteAsync(CancellationToken cancellationToken);
}

/// <summary>Makes a clip from files into a sink: reads what it begins with, loads the model, samples, writes and completes.</summary>
public static class ClipGenerator
{
    /// <summary>Makes a clip.</summary>
    /// <param name="clip">What to make.</param>
    /// <param name="pipeline">Gives the pipeline; called once, when everything else is ready.</param>
    /// <param name="sink">Takes the frames; the caller disposes it.</param>
    /// <param name="progress">Reports progress after every step, on the working thread.</param>
    /// <param name="warn">Takes all warnings so far, as soon as there are more; null where those of the result are enough.</param>
    /// <param name="cancellationToken">Checked before the model is loaded and before every step.</param>
    /// <exception cref="RequestException">The plan begins with a picture or video, and there is no file, or it is not what was planned.</exception>
    /// <exception cref="MediaException">The picture or video cannot be read.</exception>
    public static Task<ClipResult> MakeAsync(ClipInputs clip, Func<VideoPipeline> pipeline, IFrameSink sink, IProgress<GenerationProgress>? progress = null,
        Action<IReadOnlyList<string>>? warn = null, CancellationToken cancellationToken = default) => MakeAsync(clip, _ => pipeline(), sink, progress, warn, cancellationToken);

    /// <param name="clip">What to make.</param>
    /// <param name="pipeline">Gives the pipeline for the plan with its pixels; called once, when everything else is ready.</param>
    /// <param name="sink">Takes the frames; the caller disposes it.</param>
    /// <param name="progress">Reports progress after every step, on the working thread.</param>
    /// <param name="warn">Takes all warnings so far, as soon as there are more; null where those of the result are enough.</param>
    /// <param name="cancellationToken">Checked before the model is loaded and before every step.</param>
    /// <inheritdoc cref="MakeAsync(ClipInputs, Func{VideoPipeline}, IFrameSink, IProgress{GenerationProgress}?, Action{IReadOnlyList{string}}?, CancellationToken)"/>
    internal static async Task<ClipResult> MakeAsync(ClipInputs clip, Func<GenerationPlan, VideoPipeline> pipeline, IFrameSink sink, IProgress<GenerationProgress>? progress,
        Action<IReadOnlyList<string>>? warn, CancellationToken cancellationToken)
    {
        if (clip.Plan.Clips.Count != 1)
            throw new ArgumentException(FormattableString.Invariant($"the plan has {clip.Plan.Clips.Count} clips and a sink takes one: plan each clip by itself"), nameof(clip));
        var (plan, frames) = (clip.Plan, 0);
        var (settings, warnings) = (plan.Clip, new List<string>());

        // Conditioning: a picture is read first, since it may be refused; the frames of a video before its end go to the sink at once.
        if (settings.Conditioning?.Kind == ConditioningKind.Image)
        {
            var picture = await ImageReader.ReadAsync(File(), settings.Width, settings.Height, cancellationToken).ConfigureAwait(false);
            Warn(picture.Warning is { } warning ? [warning] : []);
            plan = plan.WithPixels(picture.Pixels);
        }

        sink.Begin(clip.Notes);
        if (settings.Conditioning?.Kind == ConditioningKind.Video)
        {
            var options = new VideoReadOptions { Width = settings.Width, Height = settings.Height, Fps = clip.FramesPerSecond };
            plan = plan.WithPixels(await ConditioningVideo.ReadAsync(File(), options, settings.Conditioning.Frames, settings.NewFramesOnly ? null : WriteAsync, cancellationToken).ConfigureAwait(false));
        }

        Warn(settings.Warnings);

        // Model: loading takes long and cannot be stopped in the middle.
        cancellationToken.ThrowIfCancellationRequested();
        var run = pipeline(plan).GenerateAsync(plan, progress, cancellationToken);
        sink.Expect(run.Settings.Frames);
        await foreach (var chunk in run.ConfigureAwait(false))
        {
            Warn(run.Warnings);
            await WriteAsync(chunk.Rgb).ConfigureAwait(false);
            sink.ChunkDone(chunk);
        }

        Warn(run.Warnings);
        await sink.CompleteAsync(cancellationToken).ConfigureAwait(false);
        return new ClipResult(run.Settings, frames, warnings);

        string File() => clip.ConditioningFile ?? throw RequestFault.NoFileNamed();

        async Task WriteAsync(ReadOnlyMemory<byte> rgb)
        {
            await sink.WriteAsync(rgb, cancellationToken).ConfigureAwait(false);
            frames += rgb.Length / settings.FrameBytes;
        }

        void Warn(IReadOnlyList<string> some)
        {
            var known = warnings.Count;
            warnings.AddRange(some.Except(warnings).ToList());
            if (warnings.Count > known)
                warn?.Invoke(warnings);
        }
    }
}
