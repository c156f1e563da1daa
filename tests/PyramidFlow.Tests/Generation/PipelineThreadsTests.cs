using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>How many threads operators may use, at each step of the work.</summary>
public sealed class PipelineThreadsTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    // A picture whose operators are worth sharing among threads.
    private static GenerationOptions Large { get; } = TinyPipeline.Request with { Frames = 1, Width = 576, Height = 576, Steps = [1, 1, 1] };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Threads_are_those_a_pipeline_was_loaded_with_whatever_another_one_was_given()
    {
        var before = TorchRuntime.Threads;
        using var one = tiny.Load(new PipelineOptions { Threads = 1 });
        using var two = tiny.Load(new PipelineOptions { Threads = 2 });
        TorchRuntime.Threads = before;
        foreach (var (pipeline, threads) in new[] { (one, 1), (two, 2), (one, 1) })
        {
            var seen = await Threads(pipeline, Large);
            Assert.All(seen, count => Assert.Equal(threads, count.Threads));
            Assert.NotEmpty(seen);
        }
    }

    [Fact]
    public async Task Small_tensors_are_sampled_on_one_thread_and_decoded_on_all()
    {
        using var pipeline = tiny.Load(new PipelineOptions { Threads = 2 });
        foreach (var (phase, threads) in await Threads(pipeline, TinyPipeline.Request))
            Assert.Equal(phase == GenerationPhase.Denoising ? 1 : 2, threads);
    }

    [Fact]
    public void A_run_that_is_stopped_gives_the_caller_its_threads_back()
    {
        using var pipeline = tiny.Load(new PipelineOptions { Threads = 2 });
        using var stop = new CancellationTokenSource();
        var stopper = new ReportTo(value =>
        {
            if (value is { Phase: GenerationPhase.Denoising, Step: > 0 })
                stop.Cancel();
        });
        Assert.ThrowsAny<OperationCanceledException>(() => pipeline.GenerateLatents(TinyPipeline.Request, stopper, stop.Token));
        Assert.Equal(2, TorchRuntime.Threads);
    }

    private static async Task<List<(GenerationPhase Phase, int Threads)>> Threads(VideoPipeline pipeline, GenerationOptions request)
    {
        var seen = new List<(GenerationPhase Phase, int Threads)>();
        await TinyPipeline.Collect(pipeline.GenerateAsync(request, new ReportTo(value => seen.Add((value.Phase, TorchRuntime.Threads))), Cancel));
        return seen;
    }
}
