using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public sealed class OutOfMemoryTests : IDisposable
{
    // Many steps, so that running text and history ahead for all of them takes much more than for one.
    private static readonly GenerationOptions Request = new() { Prompt = "a cat", Seed = 7, VideoSteps = [1, 60, 60] };

    private readonly TemporaryFolder folder = new();

    public OutOfMemoryTests() => TinyCheckpoint.Write(folder);

    public void Dispose()
    {
        TorchRuntime.LimitMemory(0);
        folder.Dispose();
    }

    [Fact]
    public void What_runs_out_of_memory_is_done_again_with_less_at_a_time()
    {
        var (least, most) = (Most(0), Most(1L << 30));
        Assert.True(most > 2 * least, $"{most} bytes are not much more than {least}");
        using var pipeline = VideoPipeline.Load(folder.Path);
        using var expected = pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken);
        var warnings = new Warnings();
        using var limited = VideoPipeline.Load(folder.Path, new PipelineOptions { Logger = warnings });
        TorchRuntime.LimitMemory(TorchRuntime.CpuMemory.InUse + (long)(1.3 * least));
        using var actual = limited.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken);
        TorchRuntime.LimitMemory(0);
        Assert.Contains(warnings.Sentences, sentence => sentence.StartsWith("memory ran out", StringComparison.Ordinal));
        GoldenTensors.AssertClose(expected, actual, 1e-4, 1e-4, "latents");
    }

    [Fact]
    public void What_never_fits_is_a_clear_error_and_leaves_nothing()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        pipeline.GenerateLatents(Request with { Frames = 1 }, cancellationToken: TestContext.Current.CancellationToken).Dispose();
        var live = Tensor.LiveCount;
        TorchRuntime.LimitMemory(TorchRuntime.CpuMemory.InUse + 100_000);
        var error = Assert.Throws<TorchMemoryException>(() => pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken));
        TorchRuntime.LimitMemory(0);
        Assert.Contains("out of memory", error.Message, StringComparison.Ordinal);
        Assert.Contains("smaller frames", error.Message, StringComparison.Ordinal);
        Assert.Equal(live, Tensor.LiveCount);
        pipeline.GenerateLatents(Request with { Frames = 1 }, cancellationToken: TestContext.Current.CancellationToken).Dispose();
    }

    private long Most(long ahead)
    {
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Sampler = new SamplerOptions { PrefixBytes = ahead } });
        pipeline.GenerateLatents(Request with { Frames = 1 }, cancellationToken: TestContext.Current.CancellationToken).Dispose();
        var before = TorchRuntime.CpuMemory.InUse;
        TorchRuntime.ResetPeak();
        pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken).Dispose();
        return TorchRuntime.CpuMemory.Peak - before;
    }

    private sealed class Warnings : Microsoft.Extensions.Logging.ILogger
    {
        public List<string> Sentences { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(Microsoft.Extensions.Logging.LogLevel logLevel) => true;

        public void Log<TState>(Microsoft.Extensions.Logging.LogLevel logLevel, Microsoft.Extensions.Logging.EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter) => Sentences.Add(formatter(state, exception));
    }
}
