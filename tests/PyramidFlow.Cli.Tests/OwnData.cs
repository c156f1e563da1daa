using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>Tiny models in the released layout, and pictures with captions to train them on, in a folder that goes away with the test.</summary>
internal sealed class OwnData : IDisposable
{
    public const string Caption = "a red ball";

    private const int Pictures = 3;

    public TemporaryFolder Folder { get; } = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => Folder.Dispose();

    /// <summary>A model of a layout, made when it is first asked for.</summary>
    public string Model(string layout)
    {
        var path = Folder.File(layout);
        if (!Directory.Exists(path))
            RandomCheckpoint.Write(path, new RandomOptions(layout, RandomScale.Tiny, Seed: 1), cancellationToken: Cancel);
        return path;
    }

    /// <summary>Three pictures in an annotation file, and more of its lines.</summary>
    public string Annotations(params object[] more)
    {
        for (var i = 0; i < Pictures; i++)
            Picture($"{i}.png", 64, shade: i + 3);
        IEnumerable<object> pictures = Enumerable.Range(0, Pictures).Select(i => new { image = $"{i}.png", text = Caption });
        return Folder.Write("data.jsonl", string.Concat(pictures.Concat(more).Select(line => JsonSerializer.Serialize(line) + "\n")));
    }

    /// <summary>A square picture.</summary>
    public void Picture(string name, int side, int shade = 7) =>
        PngWriter.Write(Folder.File(name), new RgbImage(side, side, Enumerable.Range(0, side * side * 3).Select(k => (byte)(k * shade)).ToArray()));

    /// <summary>A configuration of a transformer's training or of a LoRA's.</summary>
    /// <param name="model">The model.</param>
    /// <param name="addition">More keys.</param>
    /// <param name="annotations">The data; null are the pictures.</param>
    /// <param name="name">Name of the file.</param>
    public string Config(string model, string addition, string? annotations = null, string name = "config.json") => Folder.Write(name, $$"""
        {
          "model": {{JsonSerializer.Serialize(model)}},
          "data": { "annotations": {{JsonSerializer.Serialize(annotations ?? Annotations())}}, "sizes": ["64x64"], "frames": [9], "skip_missing": true },
          "max_temporal_length": 2, {{addition}}
        }
        """);

    /// <summary>A configuration of a VAE's training.</summary>
    /// <param name="model">The model that it begins with.</param>
    public string VaeConfig(string model) => Folder.Write("vae.json", $$"""
        {
          "start_from": {{JsonSerializer.Serialize(model)}}, "freeze_encoder": true, "perceptual_weight": 0, "held_out": 0, "steps": 2, "learning_rate": 0.05, "warm_up_steps": 0,
          "data": { "annotations": {{JsonSerializer.Serialize(Annotations())}}, "sizes": ["64x64"], "frames": [9] }
        }
        """);

    /// <summary>The pixels of one picture of the caption.</summary>
    public async Task<byte[]> GenerateAsync(string name, params string[] options)
    {
        var run = await CliRun.OfAsync(["generate", Caption, "--frames", "1", "--seed", "1", "--size", "64x64", "--dtype", "fp32", "-o", Folder.File(name), .. options]);
        Assert.True(run.Code == ExitCode.Ok, run.Error);
        return await PixelsAsync(name);
    }

    /// <summary>The pixels of a picture.</summary>
    public async Task<byte[]> PixelsAsync(string name) => (await ImageReader.ReadAsync(Folder.File(name), cancellationToken: Cancel)).Pixels.ToArray();
}
