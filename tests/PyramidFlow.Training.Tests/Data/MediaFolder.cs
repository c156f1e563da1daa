using System.Text.Json;
using PyramidFlow.Media;
using PyramidFlow.Testing;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

/// <summary>A folder of small videos, images and annotations.</summary>
internal sealed class MediaFolder : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public string File(params string[] parts) => folder.File(parts);

    public string Write(string name, byte[] bytes) => folder.Write(name, bytes);

    /// <summary>An annotation file with these lines, as objects or as raw text.</summary>
    public string Annotate(params object[] lines) => AnnotateAs("all.jsonl", lines);

    public string AnnotateAs(string name, params object[] lines) =>
        folder.Write(name, string.Concat(lines.Select(line => (line as string ?? JsonSerializer.Serialize(line)) + "\n")));

    /// <summary>A video whose frame i is of the grey <see cref="Grey"/>(i).</summary>
    public async Task<string> VideoAsync(string name, int frames, int width = 32, int height = 32, double fps = 24)
    {
        var path = File(name);
        await using var writer = VideoWriter.Create(path, width, height, new() { Fps = fps, Crf = 4 });
        for (var i = 0; i < frames; i++)
            await writer.WriteFramesAsync(Enumerable.Repeat(Grey(i), width * height * 3).ToArray(), TestContext.Current.CancellationToken);
        await writer.CompleteAsync(TestContext.Current.CancellationToken);
        return path;
    }

    public string Image(string name, int width, int height, byte value = 90)
    {
        PngWriter.Write(File(name), new RgbImage(width, height, Enumerable.Repeat(value, width * height * 3).ToArray()));
        return File(name);
    }

    /// <summary>All items of an annotation file or a folder.</summary>
    public static IReadOnlyList<Annotation> Read(string path) => AnnotationSource.ReadAsync(new FaultLog(), [path]).GetAwaiter().GetResult();

    public static byte Grey(int frame) => (byte)(30 + (5 * frame));

    /// <summary>The number of the frame that a grey comes from.</summary>
    public static int FrameOf(byte grey) => (int)Math.Round((grey - 30) / 5.0);

    public void Dispose() => folder.Dispose();
}
