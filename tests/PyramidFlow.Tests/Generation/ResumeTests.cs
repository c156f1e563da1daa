using System.Diagnostics;
using Microsoft.Extensions.Logging;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Tests.Generation;

/// <summary>A run that was interrupted goes on after its last finished unit.</summary>
public sealed class ResumeTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>, IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly Notes notes = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    private static GenerationOptions Five => TinyPipeline.Request with { Frames = 33, VideoSteps = [2, 1, 1] };

    // Each clip has five units, of which the first is given in some.
    private static Dictionary<string, GenerationOptions> Kinds => new()
    {
        ["units of two, window"] = Five with { FramesPerUnit = 2, Frames = 65, HistoryWindow = 3 },
        ["schedule, approximations"] = Five with { Schedule = [new PromptChange(2, "a dog")], ReusePrefix = 2, GuidanceEvery = 2 },
        ["drawn picture"] = Five with { Image = TinyPipeline.Video(1), SampleImage = true },
        ["video and window"] = Five with { Video = TinyPipeline.Video(20), Frames = 32, HistoryWindow = 3 },
    };

    public static TheoryData<string> Names => [.. Kinds.Keys];

    private ResumeFile Place => new(folder.File("units.safetensors")) { Logger = notes };

    public void Dispose() => folder.Dispose();

    [Theory]
    [MemberData(nameof(Names))]
    public async Task An_interrupted_clip_ends_as_one_that_never_was_to_the_bit(string name)
    {
        // The history cache changes the last digits of what it was not there for.
        using var pipeline = tiny.Load(new PipelineOptions { Sampler = new SamplerOptions { HistoryBytes = 0 } });
        var request = Kinds[name];
        var expected = await TinyPipeline.Collect(pipeline.GenerateAsync(request, cancellationToken: Cancel));
        var units = pipeline.Plan(request).Clip.Sampling.Units;
        Assert.Equal(5, units);
        // Another unit for each kind.
        var unit = 1 + (name.Length % (units - 2));
        await InterruptAsync(pipeline, request, unit);
        await InterruptAsync(pipeline, request, units - 1);
        // Where all units are finished, only decoding is left.
        int[] finished = name == "video and window" ? [units - 1, units] : [units - 1];
        foreach (var resumed in finished)
        {
            var (chunks, reports) = await RunAsync(pipeline, request);
            TinyPipeline.AssertEqual(expected, chunks);
            Assert.All(reports, report => Assert.Equal(resumed, report.ResumedUnits));
            Assert.Equal(units - resumed, reports.Where(report => report.Phase == GenerationPhase.Denoising).Select(report => report.Unit).Distinct().Count());
            Assert.True(reports[0].Fraction > 0);
            Assert.All(reports.Zip(reports.Skip(1)), pair => Assert.True(pair.First.Fraction <= pair.Second.Fraction));
            Assert.Equal(1, reports[^1].Fraction, 1e-9);
        }

        Assert.Equal(finished.Prepend(unit).Select(count => $"{Place.Path}: goes on after {count} of {units} units"), notes.Lines);
    }

    [Fact]
    public async Task With_a_history_cache_the_last_digits_differ_and_no_tensor_stays()
    {
        var expected = await tiny.Chunks(Five);
        var before = Tensor.LiveCount;
        await InterruptAsync(tiny.Pipeline, Five, 3);
        var (chunks, _) = await RunAsync(tiny.Pipeline, Five);
        Assert.Equal(before, Tensor.LiveCount);
        TinyPipeline.AssertSame(TinyPipeline.Bytes(expected), TinyPipeline.Bytes(chunks));
        AssertClose(expected, chunks);
    }

    [Fact]
    public async Task A_file_of_another_run_and_a_damaged_one_are_left_out_with_a_reason()
    {
        await InterruptAsync(tiny.Pipeline, Five, 3);
        var sound = await File.ReadAllBytesAsync(Place.Path, Cancel);
        var other = tiny.Load(new PipelineOptions { Type = ElementType.BFloat16 });
        using (other)
            Assert.Equal(0, await ResumedAsync(other, Five));
        foreach (var request in (GenerationOptions[])[Five with { Seed = 8 }, Five with { Prompt = "a dog" }, Five with { Frames = 41 }, Five with { VideoGuidance = 4 }, Five with { Image = TinyPipeline.Video(1) }])
            Assert.Equal(0, await ResumedAsync(tiny.Pipeline, request));
        Assert.Equal(6, notes.Lines.Count(line => line.Contains("another version of the program, another model or other settings", StringComparison.Ordinal)));
        notes.Lines.Clear();

        // A bit within the latents, the header, and the end; something else, nothing, and too much.
        byte[][] damaged = [[.. sound[..^5], (byte)(sound[^5] ^ 1), .. sound[^4..]], [.. sound[..20], 0, .. sound[21..]], sound[..^1], "not a file"u8.ToArray(), [], [.. sound, .. new byte[1 << 20]]];
        foreach (var bytes in damaged)
            Assert.Equal(0, await ResumedAsync(tiny.Pipeline, Five, bytes));
        Assert.Equal(damaged.Length, notes.Lines.Count);
        Assert.All(notes.Lines, line => Assert.Contains("the first unit is made again", line, StringComparison.Ordinal));
        Assert.Equal(3, await ResumedAsync(tiny.Pipeline, Five, sound));

        async Task<int> ResumedAsync(VideoPipeline pipeline, GenerationOptions request, byte[]? content = null)
        {
            await File.WriteAllBytesAsync(Place.Path, content ?? sound, Cancel);
            GenerationProgress? first = null;
            using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
            var progress = new ReportTo(report =>
            {
                first ??= report;
                stop.Cancel();
            });
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => TinyPipeline.Collect(pipeline.GenerateAsync(pipeline.Plan(request) with { ResumeFile = Place }, progress, stop.Token)));
            return first!.ResumedUnits;
        }
    }

    [Fact]
    public async Task A_folder_that_cannot_be_written_does_not_end_the_run()
    {
        var place = new ResumeFile(Path.Combine(folder.Path, "nowhere", "units.safetensors")) { Logger = notes };
        var chunks = await TinyPipeline.Collect(tiny.Pipeline.GenerateAsync(tiny.Pipeline.Plan(Five) with { ResumeFile = place }, cancellationToken: Cancel));
        TinyPipeline.AssertEqual(await tiny.Chunks(Five), chunks);
        Assert.Contains("cannot be kept", Assert.Single(notes.Lines), StringComparison.Ordinal);
    }

    [Fact]
    public void A_file_of_the_largest_released_clip_is_read_as_it_was_written()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        var plan = new SamplingPlan(Height: 96, Width: 160, FramesPerUnit: 1, [20, 20, 20], [10, 10, 10], [.. Enumerable.Repeat<double?>(5, 31)]);
        var units = Enumerable.Range(0, plan.Units).Select(_ => Tensor.Randn([1, 16, 1, plan.Height, plan.Width], generator).To(ElementType.BFloat16)).ToList();
        var start = Stopwatch.GetTimestamp();
        using (var written = new UnitFile(Place, "a run", plan, 16, ElementType.BFloat16))
            units.ForEach(unit => written.Add(unit, isWidened: false));
        var writing = Stopwatch.GetElapsedTime(start) / plan.Units;
        start = Stopwatch.GetTimestamp();
        using var read = new UnitFile(Place, "a run", plan, 16, ElementType.BFloat16);
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant(
            $"{plan.Units} units of 1280x768 in bfloat16: {new FileInfo(Place.Path).Length} bytes at the end, {writing.TotalMilliseconds:F1} ms a unit to keep, {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F1} ms to read"));
        Assert.Equal(plan.Units, read.Count);
        Assert.All(units.Index(), unit => Assert.True(unit.Item.RawBytes().SequenceEqual(read.Of(unit.Index).RawBytes())));
    }

    [Fact]
    public void A_file_holds_one_clip() =>
        Assert.Throws<ArgumentException>(() => tiny.Pipeline.GenerateAsync(tiny.Pipeline.Plan(Five with { Count = 2 }) with { ResumeFile = Place }, cancellationToken: Cancel));

    [Theory]
    [InlineData("guidance=2,decode=all")]
    [InlineData("timesteps=2,decode=1")]
    public async Task Several_processes_go_on_from_the_file_of_rank_zero(string ways)
    {
        var request = Five with { HistoryWindow = 2 };
        var expected = await tiny.Chunks(request);
        await InterruptAsync(tiny.Pipeline, request, 3);
        var before = await File.ReadAllBytesAsync(Place.Path, Cancel);
        var chosen = ParallelWays.Parse(ways);
        var store = folder.File("store");
        var all = await Task.WhenAll(Enumerable.Range(0, chosen.Processes).Select(rank => Task.Factory.StartNew(() =>
        {
            var rendezvous = new Rendezvous(rank, chosen.Processes, rank, "127.0.0.1", 0) { StoreFile = store };
            using var group = ProcessGroup.Join(rendezvous, new GroupOptions { Limit = TimeSpan.FromMinutes(2) }, Cancel);
            using var pipeline = tiny.Load(new PipelineOptions { Threads = 1, Parallel = new VideoParallel(group) { Ways = chosen } });
            var plan = pipeline.Plan(request);
            return TinyPipeline.Collect(pipeline.GenerateAsync(rank == 0 ? plan with { ResumeFile = Place } : plan, cancellationToken: Cancel)).GetAwaiter().GetResult();
        }, Cancel, TaskCreationOptions.LongRunning, TaskScheduler.Default)));
        Assert.Contains(notes.Lines, line => line.Contains("goes on after 3 of 5 units", StringComparison.Ordinal));
        TinyPipeline.AssertSame(TinyPipeline.Bytes(expected), TinyPipeline.Bytes(all[0]));
        AssertClose(expected, all[0]);
        Assert.True(new FileInfo(Place.Path).Length > before.Length);
    }

    // Ends a run, without a word of its own, when a unit begins.
    private async Task InterruptAsync(VideoPipeline pipeline, GenerationOptions request, int unit)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var progress = new ReportTo(report =>
        {
            if (report.Phase == GenerationPhase.Denoising && report.Unit == unit)
                stop.Cancel();
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => TinyPipeline.Collect(pipeline.GenerateAsync(pipeline.Plan(request) with { ResumeFile = Place }, progress, stop.Token)));
    }

    private async Task<(List<VideoChunk> Chunks, List<GenerationProgress> Reports)> RunAsync(VideoPipeline pipeline, GenerationOptions request)
    {
        var reports = new List<GenerationProgress>();
        return (await TinyPipeline.Collect(pipeline.GenerateAsync(pipeline.Plan(request) with { ResumeFile = Place }, new ReportTo(reports.Add), Cancel)), reports);
    }

    private static void AssertClose(IReadOnlyList<VideoChunk> expected, IReadOnlyList<VideoChunk> actual)
    {
        using var scope = new TensorScope();
        GoldenTensors.AssertClose(Joined(expected), Joined(actual), 1e-5, 1e-5, "latents");

        static Tensor Joined(IReadOnlyList<VideoChunk> chunks) => LatentClip.Join([.. chunks.Select(chunk => chunk.Latents!)]).ToTensor();
    }

    private sealed class Notes : ILogger
    {
        public List<string> Lines { get; } = [];

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) => Lines.Add(formatter(state, exception));
    }
}
