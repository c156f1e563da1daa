using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

/// <summary>Folders of clips with their texts, in place of annotation files.</summary>
public sealed class TextFolderTests : IDisposable
{
    private readonly MediaFolder folder = new();
    private readonly FaultLog faults = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    private string Clips => folder.File("clips");

    public TextFolderTests() => Directory.CreateDirectory(Clips);

    public void Dispose() => folder.Dispose();

    [Fact]
    public void The_prompt_of_a_finished_run_is_one_of_its_texts()
    {
        File.WriteAllText(Path.Combine(Clips, "a.mp4"), "");
        File.WriteAllText(Path.Combine(Clips, "a.txt"), "a cat\nsleeps");
        var run = folder.File("run");
        Directory.CreateDirectory(run);
        File.WriteAllText(Path.Combine(run, "config.json"), """{"model": "none", "data": {"annotations": ["../clips"], "sizes": ["64x64"], "frames": [9]}}""");
        Assert.Equal("a cat sleeps", TrainedRun.Find(run, "lora")!.Prompt);
    }

    [Fact]
    public void Clips_and_pictures_have_the_captions_beside_them()
    {
        foreach (var name in new[] { "b.MP4", "a.png", "c.mov", "empty.jpg", "none.webm", ".hidden.mp4", "notes.txt", "d.safetensors" })
            Write(name);
        Write("b.txt", [0xEF, 0xBB, 0xBF, .. "  größer als\r\n\n ein \"Haus\" \n"u8]);
        Write("a.txt", [.. "a red ball"u8]);
        Write("c.txt", [.. "caf"u8, 0xE9]);
        Write("empty.txt", [.. " \n"u8]);

        var (items, bad) = AnnotationFile.Scan(Clips);

        Assert.Equal([("a.png", "a red ball"), ("b.MP4", "größer als ein \"Haus\""), ("empty.jpg", null), ("none.webm", null)], items.Select(item => (Path.GetFileName(item.Media!), item.Text)));
        Assert.Equal([1, 2, 4, 5], items.Select(item => item.Line));
        Assert.Equal([true, false, true, false], items.Select(item => item.Image is not null));
        var fault = Assert.Single(bad);
        Assert.Equal((3, DataFaultKind.Damaged, Path.Combine(Clips, "c.mov")), (fault.Line, fault.Kind, fault.Item));
        FaultAssert.Is(fault.Error, "caption_unreadable", ("file", Path.Combine(Clips, "c.txt")));
        Assert.StartsWith(Path.Combine(Clips, "c.mov") + ": ", fault.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void A_folder_without_clips_is_refused()
    {
        Write("notes.txt");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => MediaFolder.Read(Clips)), "folder_without_media", ("folder", Clips));
    }

    [Fact]
    public async Task Training_leaves_out_clips_without_a_usable_caption()
    {
        foreach (var name in new[] { "a", "b", "c" })
            File.Copy(folder.Image("picture.png", 40, 40), Path.Combine(Clips, $"{name}.png"));
        Write("a.txt", [.. "a ball"u8]);
        Write("b.txt", [0xFF, 0xFE, 0]);

        using var source = await DataSources.OpenClipsAsync(new DataOptions { Annotations = [Clips], Sizes = ["16x16"], Frames = [9] }, new BatchPlanOptions(Seed: 5, BatchSize: 2),
            captions: true, faults, cancellationToken: Ct);

        Assert.All(source.Batch(0, Ct).Captions, caption => Assert.Equal("a ball", caption));
        Assert.Equal([(2, "caption_unreadable"), (3, "caption_missing")], faults.Faults.Select(fault => (fault.Line, fault.Error.Code)));
        Assert.Contains("1 damaged, 1 without a caption", faults.Summary()[0], StringComparison.Ordinal);
        FaultAssert.Is(faults.Faults[1].Error, "caption_missing", ("file", Path.Combine(Clips, "c.txt")));
    }

    [Fact]
    public async Task Extraction_makes_an_annotation_file_of_a_folder()
    {
        File.Copy(folder.Image("picture.png", 40, 40), Path.Combine(Clips, "a.png"));
        File.Copy(await folder.VideoAsync("video.mp4", 9), Path.Combine(Clips, "b.mp4"));
        Write("b.txt", [.. "ein \"Haus\""u8]);
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: 4, groups: 2));
        using (var generator = new RandomGenerator(1))
            vae.Initialize(generator);
        var extraction = new LatentExtraction(vae, new LatentExtractionOptions { Sizes = ["32x16"], Frames = 9, Window = 8, StoredType = ElementType.Float32 }, faults);
        var target = new ExtractionTarget(Clips, folder.File("out.jsonl"));

        var first = await extraction.RunAsync(target, cancellationToken: Ct);
        var second = await extraction.RunAsync(target, cancellationToken: Ct);

        Assert.Equal((2, 0, 2), (first.Made, first.Kept, first.Lines));
        Assert.Equal((0, 2), (second.Made, second.Kept));
        Assert.Empty(faults.Faults);
        var lines = File.ReadLines(folder.File("out.jsonl")).Select(line => JsonElement.Parse(line)).ToList();
        Assert.Equal("clips/a.png", lines[0].GetProperty("image").GetString());
        Assert.False(lines[0].TryGetProperty("text", out _));
        Assert.Equal(("clips/b.mp4", "ein \"Haus\""), (lines[1].GetProperty("video").GetString(), lines[1].GetProperty("text").GetString()));
        Assert.All(MediaFolder.Read(folder.File("out.jsonl")), item => Assert.True(File.Exists(item.Latent)));
    }

    private void Write(string name, params byte[] bytes) => File.WriteAllBytes(Path.Combine(Clips, name), bytes);
}
