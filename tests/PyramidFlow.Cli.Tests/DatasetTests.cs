using System.Diagnostics;
using System.Formats.Tar;
using System.Text.Json;
using System.Text.Json.Nodes;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Tests;

/// <summary><c>data check</c>, <c>extract latents</c> and <c>extract text</c>.</summary>
public sealed class DatasetTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Check_reports_buckets_captions_and_every_fault_by_line()
    {
        var annotations = await MixedAsync();
        var sheet = folder.File("sheet.png");

        var run = await CliRun.OfAsync("data", "check", annotations, "--size", "64x64", "--frames", "9,17", "--model", model.Folder, "--json", "-o", sheet);

        Assert.Equal(ExitCode.Failed, run.Code);
        using var report = JsonDocument.Parse(run.Out);
        var root = report.RootElement;
        Assert.Equal((7, 3), (root.GetProperty("lines").GetInt32(), root.GetProperty("usable").GetInt32()));
        Assert.Equal([1, 9, 17], root.GetProperty("buckets").EnumerateArray().Select(bucket => bucket.GetProperty("frames").GetInt32()));
        Assert.Equal([(4, "too_small"), (5, "too_short"), (6, "missing"), (7, "line")],
            root.GetProperty("faults").EnumerateArray().Select(fault => (fault.GetProperty("line").GetInt32(), fault.GetProperty("kind").GetString()!)));
        Assert.Equal(4, root.GetProperty("caption_tokens").GetProperty("longest").GetInt32());
        Assert.Equal((8 * 162) + 2, (await ImageReader.ReadAsync(sheet, cancellationToken: Cancel)).Width);
        Assert.Contains("line 1: a red ball", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Shards_are_checked_and_extracted_as_other_data()
    {
        using (var writer = new TarWriter(File.Create(folder.File("part-0.tar")), TarEntryFormat.Pax))
        {
            PngWriter.Write(folder.File("a.png"), new RgbImage(32, 32, new byte[32 * 32 * 3]));
            await writer.WriteEntryAsync(folder.File("a.png"), "a.png", Cancel);
            await writer.WriteEntryAsync(folder.Write("a.txt", "a red ball"), "a.txt", Cancel);
            await writer.WriteEntryAsync(folder.Write("b.mp4", "none"), "b.mp4", Cancel);
        }

        var run = await CliRun.OfAsync("data", "check", folder.File("part-{0..1}.tar"), "--size", "64x64", "--json");

        Assert.Equal(ExitCode.Failed, run.Code);
        using var report = JsonDocument.Parse(run.Out);
        Assert.Equal(1, report.RootElement.GetProperty("usable").GetInt32());
        Assert.Equal([(folder.File("part-0.tar"), 2, "damaged"), (folder.File("part-1.tar"), 0, "missing")], report.RootElement.GetProperty("faults").EnumerateArray()
            .Select(fault => (fault.GetProperty("file").GetString()!, fault.GetProperty("line").GetInt32(), fault.GetProperty("kind").GetString()!)));

        var text = await CliRun.OfAsync("extract", "text", folder.File("part-0.tar"), "--model", model.Folder, "-o", folder.File("text.jsonl"));
        Assert.Contains("run extract latents on them", text.Error, StringComparison.Ordinal);
        var latents = await CliRun.OfAsync("extract", "latents", folder.File("part-0.tar"), "--model", model.Folder, "--size", "64x64");
        Assert.Equal(ExitCode.LeftOut, latents.Code);
        Assert.Contains("\"text\":\"a red ball\",\"latent\":\"part-0-latents-latents/a-", await File.ReadAllTextAsync(folder.File("part-0-latents.jsonl"), Cancel), StringComparison.Ordinal);
        Assert.Contains("part-0.tar/b.mp4", await File.ReadAllTextAsync(folder.File("part-0-latents-left-out.jsonl"), Cancel), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_finds_what_is_damaged_inside_only_when_it_decodes()
    {
        await VideoAsync("a.mp4", 9);
        DamagedVideo.Spoil(folder.File("a.mp4"));
        var annotations = folder.Write("a.jsonl", "{\"video\": \"a.mp4\"}\n");

        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync("data", "check", annotations, "--size", "64x64")).Code);
        var decoded = await CliRun.OfAsync("data", "check", annotations, "--size", "64x64", "--decode");

        Assert.Equal(ExitCode.Failed, decoded.Code);
        Assert.Contains("1 damaged", decoded.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_decodes_a_video_to_its_end_because_a_clip_may_start_anywhere()
    {
        await VideoAsync("a.mp4", 90);
        // The index stands in front, so the header promises all frames.
        var bytes = await File.ReadAllBytesAsync(folder.File("a.mp4"), Cancel);
        folder.Write("cut.mp4", bytes[..(bytes.Length * 8 / 10)]);
        var annotations = folder.Write("a.jsonl", "{\"video\": \"cut.mp4\"}\n");

        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync("data", "check", annotations, "--size", "64x64", "--frames", "9")).Code);
        var decoded = await CliRun.OfAsync("data", "check", annotations, "--size", "64x64", "--frames", "9", "--decode");

        Assert.Equal(ExitCode.Failed, decoded.Code);
        Assert.Contains("1 lines, 0 usable", decoded.Out, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Check_warns_of_a_jpeg_without_its_end_and_sorts_by_the_shape_that_is_shown()
    {
        await FfmpegAsync("-f", "lavfi", "-i", "testsrc=s=64x128", "-vf", "setsar=2/1", "-frames:v", "1", folder.File("a.jpg"));
        folder.Write("b.jpg", (await File.ReadAllBytesAsync(folder.File("a.jpg"), Cancel))[..^2]);
        await FfmpegAsync("-f", "lavfi", "-i", "testsrc=s=64x128:d=1", "-vf", "setsar=2/1", folder.File("a.mp4"));
        var annotations = folder.Write("a.jsonl", "{\"image\": \"b.jpg\"}\n{\"video\": \"a.mp4\"}\n");

        var run = await CliRun.OfAsync("data", "check", annotations, "--size", "64x64,64x128", "--frames", "9", "--decode", "--json");

        Assert.Equal(ExitCode.Ok, run.Code);
        using var report = JsonDocument.Parse(run.Out);
        Assert.All(report.RootElement.GetProperty("buckets").EnumerateArray(), bucket => Assert.Equal(64, bucket.GetProperty("height").GetInt32()));
        var warning = Assert.Single(report.RootElement.GetProperty("warnings").EnumerateArray());
        Assert.Equal(1, warning.GetProperty("line").GetInt32());
        Assert.Contains("b.jpg has no end marker", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_extracted_can_be_trained_on()
    {
        var annotations = await MixedAsync(good: 3);
        var (latents, train) = (folder.File("latents.jsonl"), folder.File("train.jsonl"));

        var first = await CliRun.OfAsync("extract", "latents", annotations, "--model", model.Folder, "--size", "64x64", "--frames", "17", "-o", latents);
        var second = await CliRun.OfAsync("extract", "text", latents, "--model", model.Folder, "-o", train);
        var again = await CliRun.OfAsync("extract", "text", latents, "--model", model.Folder, "-o", train);
        var check = await CliRun.OfAsync("data", "check", train, "--size", "64x64", "--model", model.Folder, "--decode");

        Assert.True(first.Code == ExitCode.Ok, first.Error);
        Assert.Equal(latents, first.Out.Trim());
        Assert.Contains("3 made, 0 were there, 3 lines", first.Error, StringComparison.Ordinal);
        Assert.True(second.Code == ExitCode.Ok, second.Error);
        Assert.Contains("0 made, 3 were there", again.Error, StringComparison.Ordinal);
        Assert.True(check.Code == ExitCode.Ok, check.Out);
        using var source = await DataSources.OpenLatentsAsync(new DataOptions { Annotations = [train] }, new BatchPlanOptions(1, 2), CaptionForm.Features, 4, new FaultLog(), cancellationToken: Cancel);
        using var scope = new TensorScope();
        var batch = source.Batch(0, Cancel);
        Assert.Equal([2, 4, batch.Latents.Size(2), 8, 8], batch.Latents.Shape);
        Assert.Equal(32, batch.Text!.Tokens.Size(2));
    }

    [Fact]
    public async Task Check_looks_at_latents_without_media()
    {
        var latents = folder.File("latents.jsonl");
        var extracted = await CliRun.OfAsync("extract", "latents", await MixedAsync(good: 3), "--model", model.Folder, "--size", "64x64", "--frames", "17", "-o", latents);
        Assert.True(extracted.Code == ExitCode.Ok, extracted.Error);
        var lines = (await File.ReadAllLinesAsync(latents, Cancel)).Select(line => JsonNode.Parse(line)!.AsObject()).ToList();
        foreach (var line in lines)
            _ = line.Remove("video") || line.Remove("image");
        await File.WriteAllLinesAsync(latents, lines.Select(line => line.ToJsonString()), Cancel);

        var good = await CliRun.OfAsync("data", "check", latents, "--model", model.Folder, "--decode", "--json", "-o", folder.File("sheet.png"));
        Assert.True(good.Code == ExitCode.Ok, good.Error);
        using (var report = JsonDocument.Parse(good.Out))
        {
            Assert.Equal((3, 3, 0), (report.RootElement.GetProperty("usable").GetInt32(), report.RootElement.GetProperty("latents").GetInt32(), report.RootElement.GetProperty("videos").GetInt32()));
            Assert.Equal([1, 9, 17], report.RootElement.GetProperty("buckets").EnumerateArray().Select(bucket => bucket.GetProperty("frames").GetInt32()));
        }

        // The sheet shows what the model's VAE makes of them.
        Assert.Equal(3, (await ImageReader.ReadAsync(folder.File("sheet.png"), cancellationToken: Cancel)).Height / 162);

        using (var damaged = File.OpenWrite(folder.File(lines[1]["latent"]!.GetValue<string>().Split('/'))))
            damaged.SetLength(10);
        var bad = await CliRun.OfAsync("data", "check", latents, "--model", model.Folder);
        Assert.Equal(ExitCode.Failed, bad.Code);
        Assert.Contains("1 damaged", bad.Out, StringComparison.Ordinal);
        Assert.Contains($"{latents}, line 2", bad.Out, StringComparison.Ordinal);
        Assert.Contains("without a --model", (await CliRun.OfAsync("data", "check", latents, "-o", folder.File("none.png"))).Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task What_is_wrong_with_every_line_shows_before_a_model_is_looked_for()
    {
        var annotations = folder.Write("a.jsonl", "{\"video\": 3}\n{\"video\": 3}\n");

        var run = await CliRun.OfAsync("extract", "latents", annotations, "--model", "nowhere");

        Assert.Equal(ExitCode.Failed, run.Code);
        Assert.Contains($"{annotations}, line 1: video is not a text", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Bad_lines_are_named_and_the_others_are_checked_and_extracted()
    {
        await VideoAsync("a.mp4", 9);
        byte[] lines =
        [
            .. "{\"video\": \"a.mp4\", \"text\": \"a red ball\", \"aesthetic\": NaN, \"duration\": 7.0}\n{\"video\": \"a.mp4\", \"text\": \"cut \\ud83d\"}\n"u8,
            .. "{\"video\": \"a.mp4\", \"text\": \"caf"u8, 0xE9, .. "\"}\n{\"video\": \"a\\u0000.mp4\", \"text\": \"a\"}\n"u8,
        ];
        var annotations = folder.Write("data.jsonl", lines);

        var check = await CliRun.OfAsync("data", "check", annotations, "--model", model.Folder);
        var latents = await CliRun.OfAsync("extract", "latents", annotations, "--model", model.Folder, "--frames", "9", "-o", folder.File("l.jsonl"));
        var text = await CliRun.OfAsync("extract", "text", annotations, "--model", model.Folder, "-o", folder.File("t.jsonl"));

        Assert.Equal(ExitCode.Failed, check.Code);
        Assert.Contains("4 lines, 1 usable", check.Out, StringComparison.Ordinal);
        Assert.Contains("64x64", check.Out, StringComparison.Ordinal);
        Assert.All((CliRun[])[latents, text], run => Assert.True(run.Code == ExitCode.LeftOut, run.Error));
        Assert.All((string[])["l-left-out.jsonl", "t-left-out.jsonl"], list => Assert.Equal([2, 3, 4], File.ReadLines(folder.File(list)).Select(line => JsonElement.Parse(line).GetProperty("line").GetInt32())));
        foreach (var said in (string[])[check.Out, latents.Error, text.Error])
        {
            Assert.Contains($"{annotations}, line 2: text: this holds half of a character", said, StringComparison.Ordinal);
            Assert.Contains($"{annotations}, line 3: this is not UTF-8 text", said, StringComparison.Ordinal);
            Assert.Contains($"{annotations}, line 4: video holds a NUL character", said, StringComparison.Ordinal);
        }

        // What the other keys say stays as it was written, also what JSON does not know.
        Assert.StartsWith("{\"video\":\"a.mp4\",\"text\":\"a red ball\",\"aesthetic\":NaN,\"duration\":7.0,\"latent\":\"l-latents/", Assert.Single(await File.ReadAllLinesAsync(folder.File("l.jsonl"), Cancel)), StringComparison.Ordinal);
        Assert.Single(await File.ReadAllLinesAsync(folder.File("t.jsonl"), Cancel));
    }

    [Fact]
    public async Task Latents_that_are_not_finite_are_extracted_again()
    {
        await VideoAsync("a.mp4", 9);
        var annotations = folder.Write("data.jsonl", "{\"video\": \"a.mp4\", \"text\": \"a\"}\n");
        string[] extract = ["extract", "latents", annotations, "--model", model.Folder, "--frames", "9", "-o", folder.File("l.jsonl")];
        string[] check = ["data", "check", folder.File("l.jsonl"), "--model", model.Folder, "--decode"];
        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync(extract)).Code);
        var file = Directory.GetFiles(folder.File("l-latents")).Single();
        var good = await File.ReadAllBytesAsync(file, Cancel);
        await File.WriteAllBytesAsync(file, [.. good[..^2], 0xC0, 0x7F], Cancel);

        Assert.Contains("extract it again", (await CliRun.OfAsync(check)).Out, StringComparison.Ordinal);
        Assert.Contains("1 made, 0 were there", (await CliRun.OfAsync(extract)).Error, StringComparison.Ordinal);
        Assert.Equal(ExitCode.Ok, (await CliRun.OfAsync(check)).Code);
        Assert.Equal(good, await File.ReadAllBytesAsync(file, Cancel));
    }

    [Fact]
    public async Task Wrong_options_are_refused()
    {
        (await CliRun.OfAsync("extract", "latents", folder.File("none.jsonl"))).AssertRefused("none.jsonl does not exist");
        (await CliRun.OfAsync("extract", "text", "a.jsonl", "--part", "3/2")).AssertRefused("--part cannot be 3/2", "such as 2/4");
        (await CliRun.OfAsync("data", "check", "a.jsonl", "--size", "big")).AssertRefused("--size cannot be big");
    }

    // Three good items, a tiny image, a short and a missing video, and a line that is no JSON.
    private async Task<string> MixedAsync(int good = 7)
    {
        await VideoAsync("a.mp4", 20);
        await VideoAsync("b.mp4", 9);
        await VideoAsync("short.mp4", 3);
        Picture("c.png", 80);
        Picture("tiny.png", 1);
        string[] lines =
        [
            """{"video": "a.mp4", "text": "a red ball"}""", """{"video": "b.mp4", "text": "a ball"}""", """{"image": "c.png", "text": "a red ball"}""",
            """{"image": "tiny.png", "text": "a"}""", """{"video": "short.mp4", "text": "a"}""", """{"video": "lost.mp4", "text": "a"}""", "{",
        ];
        return folder.Write("data.jsonl", string.Concat(lines.Take(good).Select(line => line + "\n")));
    }

    private void Picture(string name, int side) => PngWriter.Write(folder.File(name), new RgbImage(side, side, new byte[side * side * 3]));

    private static async Task FfmpegAsync(params string[] arguments)
    {
        using var process = Process.Start(FfmpegTools.FromEnvironment().Ffmpeg, ["-nostdin", "-loglevel", "error", "-y", .. arguments]);
        await process.WaitForExitAsync(Cancel);
        Assert.Equal(0, process.ExitCode);
    }

    private async Task VideoAsync(string name, int frames)
    {
        var random = new Random(1);
        var rgb = new byte[64 * 64 * 3];
        await using var writer = VideoWriter.Create(folder.File(name), 64, 64);
        for (var i = 0; i < frames; i++)
        {
            random.NextBytes(rgb);
            await writer.WriteFramesAsync(rgb, Cancel);
        }

        await writer.CompleteAsync(Cancel);
    }
}
