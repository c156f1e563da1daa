using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Generation;

public sealed class ClipGeneratorTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>, IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_picture_becomes_the_first_frame_and_everything_comes_in_order()
    {
        var picture = TinyPipeline.Video(1);
        PngWriter.Write(folder.File("in.png"), new RgbImage(TinyPipeline.Side, TinyPipeline.Side, picture));
        var plan = tiny.Pipeline.Plan(TinyPipeline.Request with { Conditioning = ConditioningInput.Image, Frames = 9 });
        var (sink, warned) = (new Recorder(), new List<string>());

        var made = await ClipGenerator.MakeAsync(Inputs(plan, "in.png"), () => { sink.Events.Add("load"); return tiny.Pipeline; }, sink, null, warnings => warned = [.. warnings], Cancel);

        Assert.Equal(["begin a cat", "load", "expect 9", "write 1", "chunk 0", "write 8", "chunk 1", "complete"], sink.Events);
        Assert.Equal(await tiny.Frames(TinyPipeline.Request with { Image = picture, Frames = 9 }), sink.Rgb);
        Assert.Equal((9, plan.Clip.Seed), (made.Frames, made.Settings.Seed));
        Assert.Equal(made.Warnings, warned);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Frames_before_the_end_of_a_video_are_written_before_the_model_is_loaded_unless_only_new_ones_are_wanted(bool newOnly)
    {
        await using (var writer = VideoWriter.Create(folder.File("in.mp4"), TinyPipeline.Side, TinyPipeline.Side, new VideoWriterOptions { Fps = 8 }))
        {
            await writer.WriteFramesAsync(TinyPipeline.Video(12), Cancel);
            await writer.CompleteAsync(Cancel);
        }

        var frames = await ConditioningVideo.CountAsync(folder.File("in.mp4"), 8, 17, Cancel);
        var plan = tiny.Pipeline.Plan(TinyPipeline.Request with { Conditioning = ConditioningInput.Video(frames), Frames = 8, NewFramesOnly = newOnly });
        var sink = new Recorder();

        var made = await ClipGenerator.MakeAsync(Inputs(plan, "in.mp4"), () => { sink.Events.Add("load"); return tiny.Pipeline; }, sink, cancellationToken: Cancel);

        string[] before = newOnly ? ["begin a cat"] : ["begin a cat", "write 1", "write 1", "write 1"];
        Assert.Equal([.. before, "load", newOnly ? "expect 8" : "expect 17"], sink.Events[..(before.Length + 2)]);
        Assert.Equal("complete", sink.Events[^1]);
        Assert.Equal((newOnly ? 8 : 20, sink.Rgb.Length / TinyPipeline.FrameBytes), (made.Frames, made.Frames));
    }

    [Fact]
    public async Task A_clip_that_is_cancelled_or_has_no_file_loads_no_model()
    {
        var plan = tiny.Pipeline.Plan(TinyPipeline.Request with { Frames = 1 });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => ClipGenerator.MakeAsync(Inputs(plan, null), Fail, new Recorder(), cancellationToken: new CancellationToken(true)));
        var image = tiny.Pipeline.Plan(TinyPipeline.Request with { Conditioning = ConditioningInput.Image, Frames = 9 });
        FaultAssert.Is(await Assert.ThrowsAsync<RequestException>(() => ClipGenerator.MakeAsync(Inputs(image, null), Fail, new Recorder(), cancellationToken: Cancel)), "file_not_named");

        static VideoPipeline Fail() => throw new InvalidOperationException("a model was loaded");
    }

    public void Dispose() => folder.Dispose();

    private ClipInputs Inputs(GenerationPlan plan, string? file) =>
        new(plan, GenerationNotes.Of("tiny", "384p", plan.Clip.Options, plan.Placement, []), 8) { ConditioningFile = file is null ? null : folder.File(file) };

    private sealed class Recorder : IFrameSink
    {
        private readonly List<byte> rgb = [];
        private int chunks;

        public List<string> Events { get; } = [];

        public byte[] Rgb => [.. rgb];

        public void Begin(GenerationNotes notes) => Events.Add($"begin {notes.Options.Prompt}");

        public void Expect(int frames) => Events.Add($"expect {frames}");

        public Task WriteAsync(ReadOnlyMemory<byte> rgb, CancellationToken cancellationToken)
        {
            this.rgb.AddRange(rgb.Span);
            Events.Add($"write {rgb.Length / TinyPipeline.FrameBytes}");
            return Task.CompletedTask;
        }

        public void ChunkDone(VideoChunk chunk) => Events.Add($"chunk {chunks++}");

        public Task CompleteAsync(CancellationToken cancellationToken)
        {
            Events.Add("complete");
            return Task.CompletedTask;
        }
    }
}
