using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>Runs inside runs, and a pipeline that goes away inside its own run: neither waits for itself. A test that hangs is ended.</summary>
public sealed class PipelineTurnsTests : IDisposable
{
    private const int MostMilliseconds = 300_000;

    private readonly TinyPipeline tiny = new();

    private VideoPipeline Pipeline => tiny.Pipeline;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => tiny.Dispose();

    [Fact(Timeout = MostMilliseconds)]
    public Task A_run_in_the_loop_of_another_is_refused_at_once_and_the_outer_one_goes_on() => Task.Run(async () =>
    {
        var expected = await tiny.Frames(TinyPipeline.Request);
        var chunks = new List<VideoChunk>();
        await foreach (var chunk in Pipeline.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel))
        {
            chunks.Add(chunk);
            AssertRefused(await Assert.ThrowsAsync<InvalidOperationException>(() => tiny.Chunks(TinyPipeline.Request)));
            AssertRefused(Assert.Throws<InvalidOperationException>(() => Pipeline.GenerateLatents(TinyPipeline.Request, cancellationToken: Cancel)));
            AssertRefused(Assert.Throws<InvalidOperationException>(() => Pipeline.Decode(chunk.Latents!)));
            AssertRefused(await Assert.ThrowsAsync<InvalidOperationException>(() => Task.Run(() => tiny.Chunks(TinyPipeline.Request), Cancel)));
        }

        Assert.Equal(expected, TinyPipeline.Bytes(chunks));
        Assert.Equal(expected, await tiny.Frames(TinyPipeline.Request));
    }, TestContext.Current.CancellationToken);

    [Fact(Timeout = MostMilliseconds)]
    public Task A_run_after_a_loop_that_was_left_and_after_one_that_failed_works() => Task.Run(async () =>
    {
        var expected = await tiny.Frames(TinyPipeline.Request);
        await foreach (var chunk in Pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 81 }, cancellationToken: Cancel))
            break;
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => TinyPipeline.Collect(Pipeline.GenerateAsync(TinyPipeline.Request, cancellationToken: stop.Token)));
        Assert.Equal(expected, await tiny.Frames(TinyPipeline.Request));
        await foreach (var chunk in Pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 1 }, cancellationToken: Cancel))
            Assert.Equal(1, chunk.Count);
        Pipeline.GenerateLatents(TinyPipeline.Request with { Frames = 1 }, cancellationToken: Cancel).Dispose();
    }, TestContext.Current.CancellationToken);

    [Fact(Timeout = MostMilliseconds)]
    public Task A_run_in_a_report_of_progress_is_refused() => Task.Run(async () =>
    {
        var nested = new ReportTo(_ => Pipeline.GenerateLatents(TinyPipeline.Request, cancellationToken: Cancel).Dispose());
        AssertRefused(await Assert.ThrowsAsync<InvalidOperationException>(() => TinyPipeline.Collect(Pipeline.GenerateAsync(TinyPipeline.Request, nested, Cancel))));
        AssertRefused(Assert.Throws<InvalidOperationException>(() => Pipeline.GenerateLatents(TinyPipeline.Request, nested, Cancel)));
        Assert.NotEmpty(await tiny.Frames(TinyPipeline.Request with { Frames = 1 }));
    }, TestContext.Current.CancellationToken);

    [Fact(Timeout = MostMilliseconds)]
    public Task Another_pipeline_may_work_in_the_loop() => Task.Run(async () =>
    {
        using var other = tiny.Load(new PipelineOptions());
        await foreach (var chunk in Pipeline.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel))
            Assert.Equal(chunk.Count * TinyPipeline.FrameBytes, other.Decode(LatentClip.Join([chunk.Latents!])).Length + ((chunk.FirstFrame > 0 ? 7 : 0) * TinyPipeline.FrameBytes));
    }, TestContext.Current.CancellationToken);

    [Fact(Timeout = MostMilliseconds)]
    public Task Disposing_the_pipeline_in_its_own_loop_ends_the_run() => Task.Run(async () =>
    {
        var live = Tensor.LiveCount;
        var pipeline = tiny.Load(new PipelineOptions());
        var frames = 0;
        await Assert.ThrowsAnyAsync<OperationCanceledException>(async () =>
        {
            await foreach (var chunk in pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 81 }, cancellationToken: Cancel))
            {
                frames += chunk.Count;
                pipeline.Dispose();
            }
        });
        Assert.InRange(frames, 1, 80);
        Assert.Equal(live, Tensor.LiveCount);
        Assert.Throws<ObjectDisposedException>(() => pipeline.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel));
    }, TestContext.Current.CancellationToken);

    [Fact(Timeout = MostMilliseconds)]
    public Task Disposing_the_pipeline_and_leaving_its_loop_ends_the_run() => Task.Run(async () =>
    {
        var live = Tensor.LiveCount;
        using (var pipeline = tiny.Load(new PipelineOptions()))
        {
            await foreach (var chunk in pipeline.GenerateAsync(TinyPipeline.Request with { Frames = 81 }, cancellationToken: Cancel))
            {
                pipeline.Dispose();
                break;
            }
        }

        Assert.Equal(live, Tensor.LiveCount);
    }, TestContext.Current.CancellationToken);

    [Fact(Timeout = MostMilliseconds)]
    public Task Disposing_the_pipeline_in_a_report_of_progress_ends_the_run() => Task.Run(async () =>
    {
        var pipeline = tiny.Load(new PipelineOptions());
        var dispose = new ReportTo(_ => pipeline.Dispose());
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => TinyPipeline.Collect(pipeline.GenerateAsync(TinyPipeline.Request, dispose, Cancel)));
        Assert.Throws<ObjectDisposedException>(() => pipeline.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel));
    }, TestContext.Current.CancellationToken);

    private static void AssertRefused(InvalidOperationException error) =>
        Assert.StartsWith("this pipeline is in the midst of another run", error.Message, StringComparison.Ordinal);
}
