using System.Formats.Tar;
using System.Text;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Shards;
using PyramidFlow.Training.Tests.Data;

namespace PyramidFlow.Training.Tests.Shards;

/// <summary>Items of shards on a disk.</summary>
public sealed class ShardItemsTests : IDisposable
{
    private readonly ShardFolder folder = new();
    private readonly MediaFolder media = new();
    private readonly FaultLog faults = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose()
    {
        folder.Dispose();
        media.Dispose();
    }

    [Fact]
    public async Task Batches_of_shards_are_those_of_files_to_the_bit()
    {
        var lines = new List<string>();
        for (var shard = 0; shard < 3; shard++)
        {
            var members = new List<(string, byte[])>();
            for (var i = 0; i < 5; i++)
            {
                var (key, latent) = ($"{shard}{i}", folder.Latent((10 * shard) + i, frames: i == 4 ? 3 : 2));
                lines.Add(JsonSerializer.Serialize(new { latent = folder.Write($"{key}.latent.safetensors", latent), text = $"item {key}" }));
                members.AddRange([($"{key}.latent.safetensors", latent), i % 2 == 0 ? ($"{key}.txt", [.. Encoding.UTF8.GetBytes($"item\n{key}\n")]) : ($"{key}.json", [.. Encoding.UTF8.GetBytes($$"""{"text":"item {{key}}"}""")])]);
            }

            folder.Write($"part-{shard}.tar", TarBuilder.Write(TarEntryFormat.Pax, [.. members]));
        }

        using var files = await folder.OpenAsync(faults, folder.Write("all.jsonl", string.Join('\n', lines)));
        var shards = await folder.OpenAsync(faults, folder.File("part-{0..2}.tar"));

        Assert.Equal(files.Plan.Digest, shards.Plan.Digest);
        Assert.Equal(files.Plan.Counts, shards.Plan.Counts);
        Assert.Equal(ShardFolder.Digests(files, 12), ShardFolder.Digests(shards, 12));
        Assert.Equal(ShardFolder.Digests(files, 12)[7], ShardFolder.Digests(shards, 8)[7]);
        shards.Dispose();
        Assert.Empty(faults.Faults);
        Assert.Equal(0, folder.Spooled);
    }

    [Fact]
    public async Task Videos_and_pictures_are_decoded_as_from_files()
    {
        var names = new[] { await media.VideoAsync("a.mp4", 20, 48, 32), await media.VideoAsync("b.mp4", 12, 24, 16), media.Image("c.png", 40, 40), media.Image("d.png", 60, 40, 7) };
        foreach (var name in names)
            File.WriteAllText(Path.ChangeExtension(name, ".txt"), Path.GetFileName(name));
        var shard = folder.Write("clips.tar", TarBuilder.Write(TarEntryFormat.Gnu,
            [.. names.SelectMany(name => (string[])[name, Path.ChangeExtension(name, ".txt")]).Select(path => ("./" + Path.GetFileName(path), File.ReadAllBytes(path)))]));

        using var files = await OpenAsync(media.File("a.mp4")[..^"/a.mp4".Length]);
        using var shards = await OpenAsync(shard);

        Assert.Equal(files.Plan.Digest, shards.Plan.Digest);
        for (var step = 0; step < 3; step++)
        {
            var (expected, found) = (files.Batch(step, Ct), shards.Batch(step, Ct));
            Assert.Equal(expected.Bucket, found.Bucket);
            Assert.Equal(expected.Captions, found.Captions);
            Assert.Equal(expected.Rgb, found.Rgb);
        }

        Assert.Empty(faults.Faults);
        Task<IBatchSource<ClipBatch>> OpenAsync(string source) => DataSources.OpenClipsAsync(folder.Data(source) with { Prefetch = 0 }, new BatchPlanOptions(Seed: 5, BatchSize: 2), captions: true, faults, cancellationToken: Ct);
    }

    [Fact]
    public async Task Items_take_captions_frames_and_features_by_their_names()
    {
        var shard = folder.Write("a.tar", new TarBuilder()
            .File("b.mp4", 1).File("a.webm", 1).File("b.json", [.. """{"text":"from json","frames":[4,2],"video":"/etc/passwd"}"""u8]).File("a.json", [.. """{"text":"other","url":"x"}"""u8]).File("a.txt", [.. "from text\n"u8])
            .File("d/c.latent.pt", 1).File("d/c.text_fea.safetensors", 1).File("D.PNG", 1).File("e.jpg", 1).File("e.txt").File("lonely.txt", [.. "x"u8]).File("e.mask.png", 1).File("notes.md", 1).End());

        var (items, bad) = await AnnotationSource.ScanAsync(shard, folder.Options, Ct);

        Assert.Empty(bad);
        Assert.Equal([(1, "b.mp4", "from json"), (2, "a.webm", "from text"), (3, null, null), (4, "D.PNG", null), (5, "e.jpg", null)],
            items.Select(item => (item.Line, item.Media?[(shard.Length + 1)..], item.Text)));
        Assert.Equal([2, 4], items[0].Frames);
        Assert.Equal((shard + "/d/c.latent.pt", shard + "/d/c.text_fea.safetensors", shard + "/d/c.txt"), (items[2].Latent, items[2].TextFeatures, items[2].CaptionFile));
        Assert.NotNull(items[3].Image);
    }

    [Fact]
    public async Task Members_that_cannot_be_used_are_left_out_by_name()
    {
        var latent = folder.Latent(1);
        var shard = folder.Write("a.tar", new TarBuilder()
            .File("good.latent.safetensors", latent).File("good.txt", [.. "x"u8]).File("fine.latent.safetensors", latent).File("fine.txt", [.. "x"u8])
            .Member("link.latent.safetensors"u8.ToArray(), '2')
            .File("../up.latent.safetensors", latent)
            .File("twice.latent.safetensors", latent).File("twice.latent.safetensors", latent)
            .File("two.latent.safetensors", latent).File("two.latent.pt", latent)
            .File("clip.1.mp4", 1)
            .File("long.latent.safetensors", latent).File("long.txt", Enumerable.Repeat((byte)'x', 300_000).ToArray())
            .File("text.latent.safetensors", latent).File("text.json", [.. """{"text":7}"""u8])
            .File("latin.latent.safetensors", latent).File("latin.txt", 0xE9)
            .File("damaged.latent.safetensors", 1, 2, 3).File("damaged.txt", [.. "x"u8])
            .File("none.latent.safetensors", latent)
            .File("both.mp4", 1).File("both.png", 1)
            .File("cut.latent.safetensors", latent).Open()[..^512]);

        using (var source = await folder.OpenAsync(faults, shard))
            Assert.All(ShardFolder.Digests(source, 2), batch => Assert.Contains(" x|x|x|x ", batch, StringComparison.Ordinal));
        (int, string, string)[] expected =
        [
            (3, "member_is_link", "link.latent.safetensors"), (4, "member_name_invalid", "../up.latent.safetensors"), (5, "member_repeated", "twice.latent.safetensors"),
            (6, "member_of_two", "two.latent.safetensors"), (7, "member_name_dotted", "clip.1.mp4"), (8, "caption_unreadable", "long.txt"), (9, "caption_unreadable", "text.json"), (10, "caption_unreadable", "latin.txt"),
            (13, "member_of_two", "both.mp4"), (14, "member_cut", "cut.latent.safetensors"), (15, "shard_damaged", ""),
            (11, "file_too_short", "damaged.latent.safetensors"), (12, "caption_missing", "none.latent.safetensors"),
        ];
        Assert.Equal(expected, faults.Faults.Select(fault => (fault.Line, fault.Error.Code, fault.Item![Math.Min(fault.Item!.Length, shard.Length + 1)..])));
        Assert.All(faults.Faults, fault => Assert.DoesNotContain(folder.File("spool"), fault.ToString(), StringComparison.Ordinal));
        Assert.All(faults.Faults, fault => Assert.StartsWith(fault.Item!, fault.ToString().Replace("its caption ", "", StringComparison.Ordinal), StringComparison.Ordinal));
        FaultAssert.Is(faults.Faults.Single(fault => fault.Line == 11).Error, "file_too_short", ("file", shard + "/damaged.latent.safetensors"));
        FaultAssert.Is(faults.Faults.Single(fault => fault.Line == 15).Error, "shard_damaged", ("file", shard), ("reason", TrainingFault.TarCut));
        Assert.Equal(0, folder.Spooled);
    }

    [Fact]
    public async Task A_shard_that_is_none_stops_before_training()
    {
        await Stops(folder.Write("empty.tar"), "not_a_shard");
        await Stops(folder.Write("gzip.tar", [0x1F, 0x8B, .. new byte[2000]]), "not_a_shard");
        await Stops(folder.Write("zeros.tar", new byte[10240]), "shard_without_items");
        await Stops(folder.Write("other.tar", new TarBuilder().File("README.md", 1).End()), "shard_without_items");
        await Stops(folder.Write("lost.tar", [.. new TarBuilder().File("README.md", 1).Open(), .. Enumerable.Repeat((byte)1, 512)]), "shard_damaged");

        async Task Stops(string shard, string code) => FaultAssert.Is(await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, shard)), code, ("file", shard));
    }

    [Fact]
    public async Task A_shard_that_is_missing_is_as_a_missing_file()
    {
        folder.Write("a-0.tar", TarBuilder.Write(TarEntryFormat.Ustar, ("a.latent.safetensors", folder.Latent(1)), ("a.txt", [.. "x"u8])));
        var both = folder.Data(folder.File("a-{0..1}.tar"));

        var error = await Assert.ThrowsAsync<TrainingException>(() => Open(both, new FaultLog()));
        FaultAssert.Is(error, "files_missing", ("file", folder.File("a-1.tar")));
        both.SkipMissing = true;
        using var source = await Open(both, faults);

        var fault = Assert.Single(faults.Faults);
        Assert.Equal((folder.File("a-1.tar"), 0, folder.File("a-1.tar"), DataFaultKind.Missing), (fault.File, fault.Line, fault.Item, fault.Kind));
        Task<IBatchSource<LatentBatch>> Open(DataOptions data, FaultLog log) =>
            DataSources.OpenLatentsAsync(data, new BatchPlanOptions(Seed: 3, BatchSize: 1), CaptionForm.Text, ShardFolder.Channels, log, cancellationToken: Ct);
    }

    [Fact]
    public async Task A_shard_that_changes_is_never_read_as_other_data()
    {
        var shard = folder.File("a.tar");
        Write(1);
        using (var source = await folder.OpenAsync(faults, shard))
        {
            ShardFolder.Digests(source, 1);
            Write(2);
            FaultAssert.Is(Assert.Throws<TrainingException>(() => ShardFolder.Digests(source, 20)), "shard_changed", ("file", shard));
        }

        FaultAssert.Is(await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, shard)), "shard_changed", ("file", shard));
        // A check takes the data as they are now, and training goes on from there.
        var report = await new DataCheck(folder.Data(shard), ShardFolder.Channels).RunAsync(null, decode: true, cancellationToken: Ct);
        Assert.Equal((1, 1), (report.Lines, report.Usable));
        using var again = await folder.OpenAsync(faults, shard);
        Assert.Empty(faults.Faults);

        void Write(int value)
        {
            folder.Write("a.tar", TarBuilder.Write(TarEntryFormat.Ustar, ("a.latent.safetensors", folder.Latent(value)), ("a.txt", [.. "x"u8])));
            File.SetLastWriteTimeUtc(shard, new DateTime(2026, 1, value, 0, 0, 0, DateTimeKind.Utc));
        }
    }

    [Fact]
    public async Task A_damaged_index_is_made_again()
    {
        var shard = folder.Write("a.tar", TarBuilder.Write(TarEntryFormat.Ustar, ("a.latent.safetensors", folder.Latent(1)), ("a.txt", [.. "x"u8])));
        using (await folder.OpenAsync(faults, shard))
        {
        }

        var index = Assert.Single(Directory.GetFiles(folder.Options.IndexFolder!));
        var whole = File.ReadAllText(index);
        Assert.Contains("\"shape\":[1,4,2,2,3]", whole, StringComparison.Ordinal);
        foreach (var damaged in new[] { "", "{}", "null", whole[..(whole.Length / 2)], whole.Replace("\"size\":", "\"size\":9", StringComparison.Ordinal) })
        {
            File.WriteAllText(index, damaged);
            var isOther = damaged.Contains("\"size\":9", StringComparison.Ordinal);
            if (isOther)
                await Assert.ThrowsAsync<TrainingException>(() => folder.OpenAsync(faults, shard));
            else
                (await folder.OpenAsync(faults, shard)).Dispose();
            Assert.Equal(isOther ? damaged : whole, File.ReadAllText(index));
        }
    }

    [Fact]
    public async Task Members_larger_than_the_spool_are_bad_items_and_smaller_ones_wait_for_room()
    {
        folder.Options = folder.Options with { Spool = new Spool(folder.File("spool"), 2 << 20) };
        var (latent, members) = (folder.Latent(1), new List<(string, byte[])>());
        for (var i = 0; i < 20; i++)
            members.AddRange([($"{i}.latent.safetensors", latent), ($"{i}.txt", [.. "x"u8])]);
        members.AddRange([("big.latent.safetensors", new byte[3 << 20]), ("big.txt", [.. "x"u8])]);
        var shard = folder.Write("a.tar", TarBuilder.Write(TarEntryFormat.Ustar, [.. members]));

        using (var source = await DataSources.OpenLatentsAsync(folder.Data(shard) with { Workers = 16, Prefetch = 8 }, new BatchPlanOptions(Seed: 3, BatchSize: 8), CaptionForm.Text,
            ShardFolder.Channels, faults, cancellationToken: Ct))
        {
            ShardFolder.Digests(source, 20);
        }

        FaultAssert.Is(Assert.Single(faults.Faults).Error, "member_too_large", ("file", shard + "/big.latent.safetensors"), ("bytes", 3L << 20), ("most", 2L << 20));
        Assert.Equal(0, folder.Spooled);
    }

    [Fact]
    public async Task What_a_killed_process_left_in_the_spool_is_deleted_and_what_a_running_one_has_is_not()
    {
        Directory.CreateDirectory(folder.File("spool", "pyramidflow-shards-dead"));
        File.WriteAllText(folder.File("spool", "pyramidflow-shards-dead", "lock"), "");
        File.WriteAllText(folder.File("spool", "pyramidflow-shards-dead", "a.mp4"), "");
        Directory.CreateDirectory(folder.File("spool", "pyramidflow-shards-alive"));
        using var held = new FileStream(folder.File("spool", "pyramidflow-shards-alive", "lock"), FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);

        foreach (var name in new[] { "dead", "alive" })
            Directory.SetLastWriteTimeUtc(folder.File("spool", "pyramidflow-shards-" + name), DateTime.UtcNow.AddHours(-1));

        using (var file = await folder.Options.Spool.AddAsync(".mp4", 3, stream => stream.WriteAsync(new byte[3], Ct).AsTask(), Ct))
            Assert.Equal(3, new FileInfo(file.Path).Length);

        Assert.False(Directory.Exists(folder.File("spool", "pyramidflow-shards-dead")));
        Assert.True(Directory.Exists(folder.File("spool", "pyramidflow-shards-alive")));
        Assert.Equal(0, folder.Spooled);
    }

    [Fact]
    public async Task Latents_of_shards_are_extracted_into_an_annotation_file()
    {
        var picture = File.ReadAllBytes(media.Image("a.png", 40, 40));
        for (var i = 0; i < 2; i++)
            folder.Write($"part-{i}.tar", TarBuilder.Write(TarEntryFormat.Ustar, ("a.png", picture), ("a.txt", [.. Encoding.UTF8.GetBytes($"ein \"Bild\" {i}")]), ("bad.png", [1])));
        using var vae = new CausalVideoVae(CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 1, latentChannels: 4, groups: 2));
        using (var generator = new RandomGenerator(1))
            vae.Initialize(generator);
        var extraction = new LatentExtraction(vae, new LatentExtractionOptions { Sizes = ["32x16"], Frames = 9, Window = 8, StoredType = ElementType.Float32, Shards = folder.Options }, faults);
        var target = new ExtractionTarget(folder.File("part-{0..1}.tar"), folder.File("out.jsonl"));

        var first = await extraction.RunAsync(target, cancellationToken: Ct);
        var second = await extraction.RunAsync(target, cancellationToken: Ct);

        Assert.Equal((2, 0, 2), (first.Made, first.Kept, first.Lines));
        Assert.Equal((0, 2), (second.Made, second.Kept));
        Assert.Equal([(folder.File("part-0.tar"), 2), (folder.File("part-1.tar"), 2)], faults.Faults.Select(fault => (fault.File, fault.Line)));
        var items = MediaFolder.Read(folder.File("out.jsonl"));
        Assert.Equal(["ein \"Bild\" 0", "ein \"Bild\" 1"], items.Select(item => item.Text));
        Assert.Equal(2, items.Select(item => item.Latent).Distinct().Count(File.Exists));
        FaultAssert.Is(Assert.Throws<TrainingException>(() => TextExtraction.Check(target)), "text_of_shards", ("file", target.Annotations));
    }
}
