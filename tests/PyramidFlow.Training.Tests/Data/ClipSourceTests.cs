using PyramidFlow.Media;
using PyramidFlow.Testing;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public sealed class ClipSourceTests : IDisposable
{
    private readonly MediaFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Batches_have_one_bucket_and_follow_from_the_step_alone()
    {
        var annotations = await SomeMedia();
        using var first = await Open(annotations);
        var batches = Enumerable.Range(0, 12).Select(step => first.Batch(step, Ct)).ToList();
        using var resumed = await Open(annotations);

        foreach (var step in new[] { 7, 8, 2 })
        {
            var again = resumed.Batch(step, Ct);
            Assert.Equal(batches[step].Captions, again.Captions);
            Assert.Equal(batches[step].Rgb, again.Rgb);
        }

        Assert.All(batches, batch => Assert.All(batch.Rgb, clip => Assert.Equal(batch.Bucket.Frames * batch.Bucket.Width * batch.Bucket.Height * 3, clip.Length)));
        Assert.Contains(batches, batch => batch.Bucket.IsImage);
        Assert.Contains(batches, batch => batch.Bucket == new Bucket(32, 16, 9));
        Assert.Empty(first.Faults.Faults);
    }

    [Fact]
    public async Task Processes_share_every_pass_without_overlap()
    {
        List<object> lines = [];
        for (var i = 0; i < 8; i++)
            lines.Add(new { image = folder.Image($"{i}.png", 16, 16), text = $"{i}" });
        var annotations = folder.Annotate([.. lines]);
        using var rank0 = await Open(annotations, rank: 0, world: 2);
        using var rank1 = await Open(annotations, rank: 1, world: 2);

        var captions = Enumerable.Range(0, 2).SelectMany(step => rank0.Batch(step, Ct).Captions.Concat(rank1.Batch(step, Ct).Captions));

        Assert.Equal(Enumerable.Range(0, 8).Select(i => $"{i}"), captions.Order());
    }

    [Fact]
    public async Task A_video_is_brought_to_the_rate_asked_for()
    {
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 40, fps: 48) });
        using var source = await Open(annotations, new() { RandomStart = false }, captions: false);

        var clip = source.Batch(0, Ct).Rgb[0];

        Assert.Equal(Enumerable.Range(0, 17).Select(frame => 2 * frame), Shown(clip));
    }

    [Fact]
    public async Task Frames_named_by_the_annotation_are_taken_as_they_are()
    {
        int[] frames = [0, 3, 4, 7, 9, 11, 12, 15, 20];
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 24), frames });
        using var source = await Open(annotations, captions: false);

        Assert.Equal(frames, Shown(source.Batch(0, Ct).Rgb[0]));
    }

    [Fact]
    public async Task A_line_that_names_frames_behind_the_end_says_so()
    {
        int[] inside = [0, 1, 2, 3, 4, 5, 6, 7, 23], beyond = [0, 1, 2, 3, 4, 5, 6, 7, 8, 24];
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 24), frames = inside }, new { video = folder.File("a.mp4"), frames = beyond });
        using var source = await Open(annotations, captions: false);

        FaultAssert.Is(Assert.Single(source.Faults.Faults).Error, "frames_beyond_end", ("file", folder.File("a.mp4")), ("last", 24), ("count", 24L));
        Assert.Equal(inside, Shown(source.Batch(0, Ct).Rgb[0]));
    }

    [Fact]
    public async Task A_clip_starts_anywhere_in_its_video_by_the_step()
    {
        var annotations = folder.Annotate(new { video = await folder.VideoAsync("a.mp4", 40) });
        using var source = await Open(annotations, new() { Frames = [9] }, captions: false);

        var clips = Enumerable.Range(0, 8).Select(step => Shown(source.Batch(step, Ct).Rgb[0])).ToList();

        Assert.All(clips, clip => Assert.Equal(Enumerable.Range(clip[0], 9), clip));
        Assert.True(clips.Select(clip => clip[0]).Distinct().Count() > 3);
    }

    [Fact]
    public async Task Bad_items_are_named_and_the_place_goes_to_the_next_of_the_bucket()
    {
        List<object> lines = [];
        for (var i = 0; i < 6; i++)
            lines.Add(new { video = await folder.VideoAsync($"{i}.mp4", 9), text = $"{i}" });
        DamagedVideo.Spoil(folder.File("3.mp4"));
        var annotations = folder.Annotate([.. lines]);
        using var first = await Open(annotations);
        using var second = await Open(annotations);
        Assert.Empty(first.Faults.Faults);

        var captions = Enumerable.Range(0, 6).Select(step => first.Batch(step, Ct).Captions).ToList();

        Assert.DoesNotContain(captions, batch => batch.Contains("3"));
        Assert.All(captions, batch => Assert.Equal(2, batch.Count));
        var fault = Assert.Single(first.Faults.Faults);
        Assert.Equal(4, fault.Line);
        FaultAssert.Is(Assert.IsType<MediaException>(fault.Error), "video_damaged", ("file", folder.File("3.mp4")));
        Assert.Contains("line 4", first.Faults.Summary()[1], StringComparison.Ordinal);
        Assert.Equal(captions[5], second.Batch(5, Ct).Captions);
    }

    [Fact]
    public async Task Short_videos_and_tiny_images_are_counted_before_the_first_step()
    {
        var annotations = folder.Annotate(
            new { video = await folder.VideoAsync("short.mp4", 4), text = "" },
            new { image = folder.Image("tiny.png", 1, 1), text = "" },
            new { image = folder.Image("good.png", 40, 40), text = "" },
            new { video = folder.Write("nothing.mp4", []), text = "" });
        using var source = await Open(annotations);

        Assert.Equal([DataFaultKind.TooShort, DataFaultKind.TooSmall, DataFaultKind.Damaged], source.Faults.Faults.Select(fault => fault.Kind));
        FaultAssert.Is(source.Faults.Faults[0].Error, "video_too_short", ("file", folder.File("short.mp4")), ("frames", 4), ("shortest", 9));
        FaultAssert.Is(source.Faults.Faults[1].Error, "picture_too_small", ("file", folder.File("tiny.png")), ("size", "1x1"), ("bucket", "16x16"));
        Assert.Equal([(new Bucket(16, 16, 1), 1)], source.Plan.Counts);
    }

    [Fact]
    public async Task Missing_files_stop_the_run_unless_told_otherwise()
    {
        var annotations = folder.Annotate(new { image = folder.Image("good.png", 40, 40), text = "" }, new { image = "lost.png", text = "" });

        var error = await Assert.ThrowsAsync<TrainingException>(() => Open(annotations));
        using var source = await Open(annotations, new() { SkipMissing = true });

        FaultAssert.Is(error, "files_missing", ("file", folder.File("lost.png")));
        FaultAssert.Is(Assert.IsType<TrainingException>(error.InnerException), "file_missing", ("file", folder.File("lost.png")));
        Assert.Equal(DataFaultKind.Missing, Assert.Single(source.Faults.Faults).Kind);
    }

    [Fact]
    public async Task A_run_stops_when_all_items_of_a_bucket_turn_out_bad()
    {
        var path = await folder.VideoAsync("a.mp4", 9);
        var annotations = folder.Annotate(new { video = path, text = "" });
        using var source = await Open(annotations);
        File.Delete(path);

        var error = Assert.Throws<TrainingException>(() => source.Batch(0, Ct));

        FaultAssert.Is(error, "too_many_bad_items", ("bad", 1), ("items", 1), ("bucket", "16x16, 9 frames"));
        FaultAssert.Is(Assert.IsType<TrainingException>(error.InnerException), "file_missing", ("file", path));
    }

    [Fact]
    public async Task A_line_without_a_caption_is_left_out_where_captions_are_needed()
    {
        var (without, with) = (folder.Image("without.png", 40, 40), folder.Image("with.png", 40, 40));
        using (var source = await Open(folder.Annotate(new { image = without }, new { image = with, text = "" })))
        {
            Assert.All(source.Batch(0, Ct).Lines, line => Assert.Equal(with, line.Image));
            var fault = Assert.Single(source.Faults.Faults);
            Assert.Equal((1, DataFaultKind.NoCaption, without), (fault.Line, fault.Kind, fault.Item));
            FaultAssert.Is(fault.Error, "caption_missing", ("file", null));
        }

        var error = await Assert.ThrowsAsync<TrainingException>(() => Open(folder.Annotate(new { image = without })));
        FaultAssert.Is(error, "too_many_bad_items", ("bad", 1), ("items", 1));
        FaultAssert.Is(Assert.IsType<TrainingException>(error.InnerException), "caption_missing");
    }

    [Fact]
    public async Task A_video_of_changing_rate_is_read_by_time()
    {
        // Frames 0 to 8 at 24 a second, then every third: the times between are filled by the frame before.
        var video = await folder.VideoAsync("a.mp4", 33);
        var path = folder.File("variable.mkv");
        using (var ffmpeg = System.Diagnostics.Process.Start("ffmpeg",
            ["-nostdin", "-loglevel", "error", "-y", "-i", video, "-vf", "select='lt(n,9)+not(mod(n,3))'", "-vsync", "vfr", "-c:v", "libx264", "-crf", "4", path]))
        {
            await ffmpeg.WaitForExitAsync(Ct);
            Assert.Equal(0, ffmpeg.ExitCode);
        }

        using var source = await Open(folder.Annotate(new { video = path }), new() { RandomStart = false, Frames = [25] }, captions: false);
        var shown = Shown(source.Batch(0, Ct).Rgb[0]);

        Assert.Equal(Enumerable.Range(0, 9), shown.Take(9));
        Assert.All(shown.Skip(9).Index(), pair => Assert.InRange(pair.Item, 7 + pair.Index, 9 + pair.Index));
    }

    private static int[] Shown(byte[] clip) => [.. clip.Chunk(16 * 16 * 3).Select(frame => MediaFolder.FrameOf(frame[384]))];

    private static Task<IBatchSource<ClipBatch>> Open(string annotations, DataOptionsPatch? patch = null, int rank = 0, int world = 1, bool captions = true)
    {
        patch ??= new();
        var options = new DataOptions
        {
            Annotations = [annotations], Sizes = ["16x16", "32x16"], Frames = patch.Frames ?? [9, 17], RandomStart = patch.RandomStart, SkipMissing = patch.SkipMissing,
        };
        return DataSources.OpenClipsAsync(options, new BatchPlanOptions(Seed: 5, BatchSize: 2, rank, world), captions, new FaultLog(), cancellationToken: Ct);
    }

    private async Task<string> SomeMedia()
    {
        List<object> lines = [];
        for (var i = 0; i < 3; i++)
        {
            lines.Add(new { video = await folder.VideoAsync($"wide{i}.mp4", 12, 64, 32), text = $"wide {i}" });
            lines.Add(new { video = await folder.VideoAsync($"square{i}.mp4", 20), text = $"square {i}" });
            lines.Add(new { image = folder.Image($"image{i}.png", 32, 30, (byte)(40 + i)), text = $"image {i}" });
        }

        return folder.Annotate([.. lines]);
    }

    private sealed record DataOptionsPatch
    {
        public int[]? Frames { get; init; }

        public bool RandomStart { get; init; } = true;

        public bool SkipMissing { get; init; }
    }
}
