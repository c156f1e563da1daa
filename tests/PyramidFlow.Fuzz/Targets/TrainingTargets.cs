using System.Formats.Tar;
using System.Text;
using PyramidFlow.Sprites;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Shards;
using PyramidFlow.Training.Tests.Shards;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Annotations, configurations, states and metrics of training.</summary>
internal static class TrainingTargets
{
    public static IEnumerable<FuzzTarget> All()
    {
        yield return new("annotations", FuzzTargets.AsFile("a.jsonl", path => AnnotationFile.Scan(path)), [typeof(TrainingException)],
            FuzzTargets.Utf8("""{"video":"a.mp4","text":"a red ball","frames":[0,2,4],"aesthetic":NaN}""" + "\n" + """{"image":"b.png","text":"x","latent":"l.safetensors","text_fea":"t.safetensors"}"""),
            FuzzTargets.Utf8("\"video\":", "\"frames\":[", "\n", "\\u0000", "\\ud83d", "null"));
        byte[][] archives = [Archive(TarEntryFormat.Ustar), Archive(TarEntryFormat.Pax), Archive(TarEntryFormat.Gnu), Archive(TarEntryFormat.V7)];
        byte[][] fields = [.. FuzzTargets.Utf8("ustar\0", "ustar  \0", "00000000000\0", "77777777777\0", "12 path=a.b\n", "12 size=999\n", ".mp4\0", ".txt\0", "../", "/"), new byte[512], [0x80, 0, 0, 0, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF]];
        yield return new("tar", Tar, [typeof(InvalidDataException)], archives, fields);
        yield return new("shard", FuzzTargets.AsFile("a.tar", Summed, path => AnnotationSource.ScanAsync(path, new ShardOptions { IndexFolder = null }).GetAwaiter().GetResult()), [typeof(TrainingException)], archives, fields);
        yield return new("shard-index", FuzzTargets.AsFile("index.json", path => ShardIndex.Read(path, "a.tar")), [],
            FuzzTargets.Utf8("""{"shard":"a.tar","version":{"size":2000,"tag":null,"modified":"x"},"members":[{"name":"a.txt","offset":512,"size":3,"content":"AAEC"},{"name":"b.mp4","offset":1536,"size":9000,"flaw":"Cut","header":{"width":3,"shape":[1]}}],"damage":{"offset":1,"reason":"x"}}"""),
            FuzzTargets.Utf8("null", "\"flaw\":", "\"size\":-1", "\"members\":[", "1e400"));
        byte[][] words = FuzzTargets.Utf8("null", "\"data\":{", "\"sizes\":[", "\"batch\":", "// x\n", "\"learning_rate\":", "\"\\ud83d\"", "NaN");
        Type[] config = [typeof(TrainingException), typeof(CheckpointException)];
        yield return new("dit-training", FuzzTargets.AsFile("dit.json", path => SpriteDitConfig.Load(path)), config,
            [FuzzTargets.Seed("configs/sprites-dit.json"), FuzzTargets.Seed("configs/miniflux-384p.json"), FuzzTargets.Seed("configs/lora-miniflux-384p.json")], words);
        yield return new("vae-training", FuzzTargets.AsFile("vae-train.json", path => VaeConfig.Load(path)), config, [FuzzTargets.Seed("configs/vae-stage1.json")], words);
        yield return new("sprites-vae", FuzzTargets.AsFile("vae-sprites.json", path => SpriteVaeConfig.Load(path)), config, [FuzzTargets.Seed("configs/sprites-vae.json")], words);
        yield return new("spikes", Spikes, [typeof(MalformedTextException)], FuzzTargets.Utf8("""{"skipped":1,"in_a_row":0,"values":{"loss":[1,2,3],"norm":[0.5]}}"""), FuzzTargets.Utf8("null", "\"values\":", "-1", "1e400"));
        yield return new("metrics", FuzzTargets.AsFile("metrics.jsonl", path => MetricsFile.Read(path)), [typeof(TrainingException)],
            FuzzTargets.Utf8("{\"step\":1,\"time\":\"2026-01-01T00:00:00Z\",\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n"), FuzzTargets.Utf8("\n", "\"step\":", "null", "\"loss\":1,\"loss\":2"));
        yield return new("metrics-resumed", FuzzTargets.AsFile("resumed.jsonl", path => _ = new MetricsFile(path, 1)), [typeof(TrainingException)],
            FuzzTargets.Utf8("{\"step\":1,\"loss\":0.5}\n{\"step\":2,\"loss\":null}\n"), FuzzTargets.Utf8("\n", "\"step\":", "null"));
    }

    private static byte[] Archive(TarEntryFormat format) => TarBuilder.Write(format,
        ("a.mp4", new byte[700]), ("a.txt", "a red ball"u8.ToArray()), ("b.png", [1]), ("b.json", """{"text":"x","frames":[0,2]}"""u8.ToArray()), ("c.latent.pt", [2]));

    // A change of a header breaks its sum, which would hide all other changes: half of the inputs get the sums that fit.
    private static byte[] Summed(byte[] input)
    {
        if (input.Length % 2 != 0)
            return input;
        var archive = (byte[])input.Clone();
        for (var at = 0; at + TarHeader.BlockBytes <= archive.Length; at += TarHeader.BlockBytes)
        {
            var block = archive.AsSpan(at, TarHeader.BlockBytes);
            if (TarHeader.IsEnd(block))
                continue;
            block.Slice(148, 8).Fill((byte)' ');
            var sum = 0;
            foreach (var each in block)
                sum += each;
            Encoding.ASCII.GetBytes(Convert.ToString(sum, 8).PadLeft(6, '0') + "\0").CopyTo(block[148..]);
        }

        return archive;
    }

    private static void Tar(byte[] changed)
    {
        var input = Summed(changed);
        var (members, damage) = TarScanner.ScanAsync(new TarBytes(input), input.Length, CancellationToken.None).GetAwaiter().GetResult();
        foreach (var member in members)
        {
            if (member.Name.Any(char.IsControl) || member.Size < 0 || (member.Flaw is null && (member.Offset < TarHeader.BlockBytes || member.Offset + member.Size > input.Length)))
                throw new WrongResultException($"{member} is no member of {input.Length} bytes");
        }

        if (damage is not null)
            throw new InvalidDataException(damage.Reason);
    }

    private sealed class TarBytes(byte[] content) : ITarBytes
    {
        public ValueTask<byte[]> ReadAsync(long offset, int count, CancellationToken cancellationToken) => ValueTask.FromResult(content[(int)offset..(int)(offset + count)]);
    }

    private static void Spikes(byte[] input)
    {
        var guard = new SpikeGuard(5);
        guard.Load(Encoding.UTF8.GetString(input));
        guard.Judge(("loss", 1), ("norm", 2));
        if (guard.Skipped < 0)
            throw new WrongResultException("fewer steps than none were skipped");
    }
}
