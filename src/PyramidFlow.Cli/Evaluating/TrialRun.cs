using PyramidFlow.Cli.Output;
using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Evaluating;

/// <summary>Generates the clips of a trial and has them judged.</summary>
/// <param name="line">Shows where it is.</param>
/// <param name="what">What is generated, for the line.</param>
internal sealed class TrialRun(ProgressLine line, string what = "generating")
{
    /// <summary>What else is asked of every clip, such as other steps.</summary>
    public Func<GenerationOptions, GenerationOptions>? Change { get; init; }

    /// <summary>Runs it.</summary>
    /// <param name="pipeline">The model.</param>
    /// <param name="trial">What to ask for.</param>
    /// <param name="count">Clips.</param>
    /// <param name="kept">How many of the first clips are given back.</param>
    /// <param name="cancel">Stops within a step.</param>
    public async Task<List<byte[]>> RunAsync(VideoPipeline pipeline, ISpriteTrial trial, int count, int kept, CancellationToken cancel)
    {
        var shown = new List<byte[]>();
        for (var i = 0; i < count; i++)
        {
            using var frames = new MemoryStream();
            await foreach (var chunk in pipeline.GenerateAsync(Request(i), new ClipShare(line, what, i, count), cancel).ConfigureAwait(false))
                frames.Write(chunk.Rgb.Span);
            var clip = frames.ToArray();
            trial.Judge(i, clip);
            if (i < kept)
                shown.Add(clip);
        }

        return shown;

        GenerationOptions Request(int index) => Change is null ? trial.Request(index) : Change(trial.Request(index));
    }

    // Progress of one clip as a part of all.
    private sealed class ClipShare(ProgressLine line, string what, int index, int count) : IProgress<GenerationProgress>
    {
        public void Report(GenerationProgress value) =>
            line.Update(what, $"clip {index + 1}/{count}", (index + value.Fraction) / count);
    }
}
