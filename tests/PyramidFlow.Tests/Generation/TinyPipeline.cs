using PyramidFlow.Generation;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Generation;

/// <summary>A pipeline of a small random checkpoint, and what tests ask of it.</summary>
public sealed class TinyPipeline : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public TinyPipeline()
    {
        TinyCheckpoint.Write(folder);
        Pipeline = Load(new PipelineOptions());

        // Text encoders take their weights at the first prompt; tests count the tensors that are left after theirs.
        Pipeline.GenerateLatents(Request with { Frames = 1 }).Dispose();
    }

    internal const int Side = 64, FrameBytes = 3 * Side * Side;

    internal VideoPipeline Pipeline { get; }

    internal static GenerationOptions Request { get; } = new() { Prompt = "a cat", Seed = 7 };

    // A pipeline without a number of threads takes that of the thread that loads it, which an earlier test may have set.
    internal VideoPipeline Load(PipelineOptions options) =>
        VideoPipeline.Load(folder.Path, options with { Device = options.Device ?? TestDevice.Current, Threads = options.Threads ?? Environment.ProcessorCount });

    internal static async Task<List<VideoChunk>> Collect(GenerationRun run)
    {
        var chunks = new List<VideoChunk>();
        await foreach (var chunk in run.WithCancellation(TestContext.Current.CancellationToken))
            chunks.Add(chunk);
        return chunks;
    }

    internal async Task<List<VideoChunk>> Chunks(params GenerationOptions[] requests) =>
        await Collect(Pipeline.GenerateAsync(requests, cancellationToken: TestContext.Current.CancellationToken));

    internal async Task<byte[]> Frames(params GenerationOptions[] requests) => Bytes(await Chunks(requests));

    internal static byte[] Bytes(IEnumerable<VideoChunk> chunks) => [.. chunks.SelectMany(c => c.Rgb.ToArray())];

    /// <summary>Frames of random colours in large blocks.</summary>
    internal static byte[] Video(int frames, int seed = 3)
    {
        var (random, video) = (new Random(seed), new byte[frames * FrameBytes]);
        var blocks = new byte[3 * 64];
        random.NextBytes(blocks);
        for (var i = 0; i < video.Length; i++)
        {
            var (pixel, channel) = Math.DivRem(i, 3);
            var (frame, at) = Math.DivRem(pixel, Side * Side);
            var (y, x) = Math.DivRem(at, Side);
            video[i] = (byte)(blocks[(((y / 8 * 8) + (x / 8)) * 3) + channel] + frame);
        }

        return video;
    }

    /// <summary>Fails unless the same frames come in the same pieces, with the same latents.</summary>
    internal static void AssertEqual(IReadOnlyList<VideoChunk> expected, IReadOnlyList<VideoChunk> actual)
    {
        Assert.Equal(expected.Select(c => (c.Item, c.FirstFrame, c.Count)), actual.Select(c => (c.Item, c.FirstFrame, c.Count)));
        foreach (var (one, other) in expected.Zip(actual))
        {
            Assert.Equal(one.Rgb.ToArray(), other.Rgb.ToArray());
            Assert.Equal(one.Latents?.Values.ToArray(), other.Latents?.Values.ToArray());
        }
    }

    /// <summary>Fails unless bytes are equal but for roundings.</summary>
    internal static void AssertSame(byte[] expected, byte[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        var others = 0;
        for (var i = 0; i < expected.Length; i++)
        {
            Assert.InRange(expected[i] - actual[i], -1, 1);
            others += expected[i] != actual[i] ? 1 : 0;
        }

        Assert.InRange(others, 0, expected.Length / 500);
    }

    public void Dispose()
    {
        Pipeline.Dispose();
        folder.Dispose();
    }
}
