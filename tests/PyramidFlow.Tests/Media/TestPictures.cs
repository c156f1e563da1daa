using PyramidFlow.Media;

namespace PyramidFlow.Tests.Media;

/// <summary>Pictures and videos for the tests, and ffmpeg to convert them.</summary>
internal static class TestPictures
{
    public const string Hostile = "prompt: ünï \"quotes\" 'single' = ; # \\ %d \n second line\t😀 日本語";

    /// <summary>A smooth picture that moves with <paramref name="time"/>: codecs keep it well.</summary>
    public static RgbImage Gradient(int width, int height, int time = 0)
    {
        var pixels = new byte[width * height * 3];
        for (var y = 0; y < height; y++)
        {
            for (var x = 0; x < width; x++)
            {
                var at = ((y * width) + x) * 3;
                pixels[at] = (byte)(40 + (160 * x / width));
                pixels[at + 1] = (byte)(30 + (180 * y / height));
                pixels[at + 2] = (byte)(128 + (100 * Math.Sin((x + y + (4 * time)) * 0.05)));
            }
        }

        return new RgbImage(width, height, pixels);
    }

    /// <summary>Frames of <see cref="Gradient"/>, 96x64, one after another.</summary>
    public static byte[] Frames(int first, int count) =>
        [.. Enumerable.Range(first, count).SelectMany(i => Gradient(96, 64, i).Pixels.ToArray())];

    public static byte[] Noise(int bytes)
    {
        var noise = new byte[bytes];
        new Random(7).NextBytes(noise);
        return noise;
    }

    /// <summary>Peak signal-to-noise ratio, dB.</summary>
    public static double Psnr(ReadOnlyMemory<byte> a, ReadOnlyMemory<byte> b)
    {
        Assert.Equal(a.Length, b.Length);
        var x = a.Span;
        var y = b.Span;
        var sum = 0.0;
        for (var i = 0; i < x.Length; i++)
            sum += (x[i] - y[i]) * (x[i] - y[i]);
        return 10 * Math.Log10(255 * 255 / Math.Max(sum / a.Length, 1e-9));
    }

    public static async Task Ffmpeg(params string[] arguments)
    {
        await using var process = FfmpegProcess.Start("ffmpeg", ["-nostdin", "-loglevel", "error", "-y", .. arguments],
            TestContext.Current.CancellationToken);
        await process.WaitAsync("the test's own ffmpeg call failed");
    }

    public static async Task<string> WriteVideo(string path, int frames, int width = 96, int height = 64, VideoWriterOptions? options = null)
    {
        await using var writer = VideoWriter.Create(path, width, height, options);
        for (var i = 0; i < frames; i++)
            await writer.WriteFramesAsync(Gradient(width, height, i).Pixels, TestContext.Current.CancellationToken);
        await writer.CompleteAsync(TestContext.Current.CancellationToken);
        return path;
    }

    public static async Task<List<RgbImage>> ReadFrames(string path, VideoReadOptions? options = null)
    {
        var frames = new List<RgbImage>();
        await foreach (var chunk in VideoReader.ReadAsync(path, options, TestContext.Current.CancellationToken))
        {
            for (var i = 0; i < chunk.Count; i++)
                frames.Add(chunk.Frame(i));
        }

        return frames;
    }
}
