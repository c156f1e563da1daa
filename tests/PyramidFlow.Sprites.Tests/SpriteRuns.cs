using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Tests.Dit;

namespace PyramidFlow.Sprites.Tests;

/// <summary>Runs of a transformer's training on a few clips of the sprites world, in a folder that goes away with the test.</summary>
internal sealed class SpriteRuns : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public SpriteRuns()
    {
        using var generator = new RandomGenerator(1);
        Encoder.Initialize(generator);
    }

    /// <summary>Makes latents of clips.</summary>
    public LinearAutoencoder Encoder { get; } = new([16, 32, 64], 16);

    /// <summary>A network for those latents and <see cref="WordlessPrompts"/>.</summary>
    public static PyramidFluxConfig Transformer { get; } = new(64, 1, 1, 16, 2, WordlessPrompts.Width, WordlessPrompts.Width, [4, 6, 6]);

    public string File(params ReadOnlySpan<string> parts) => folder.File(parts);

    /// <summary>The latents of a configuration, which all runs share.</summary>
    public SpriteLatents Latents(SpriteDitConfig config) =>
        SpriteLatents.OpenOrMake(File("latents.safetensors"), config, video => Encoder.Encode(video).Permute(0, 4, 1, 2, 3), null, CancellationToken.None);

    /// <summary>Latents of the clips that it holds out, which all runs share.</summary>
    public SpriteLatents HeldOut(SpriteDitConfig config) =>
        SpriteLatents.OpenOrMakeHeldOut(File("held-out.safetensors"), config, video => Encoder.Encode(video).Permute(0, 4, 1, 2, 3), null, CancellationToken.None)!;

    /// <summary>Trains, or goes on.</summary>
    /// <param name="config">What to train.</param>
    /// <param name="data">On what.</param>
    /// <param name="name">Name of the run.</param>
    /// <param name="weights">Name of a file to start from, or null for new weights.</param>
    /// <param name="encoded">Called after each encoding of prompts.</param>
    /// <param name="stop">Stops it, or null.</param>
    /// <param name="heldOut">Clips that are measured, or null.</param>
    /// <param name="teacher">Teacher of a distillation, or null.</param>
    public void Train(SpriteDitConfig config, SpriteLatents data, string name, string? weights = null, Action? encoded = null, CancellationTokenSource? stop = null, SpriteLatents? heldOut = null,
        Teacher? teacher = null)
    {
        using var prompts = new WordlessPrompts(encoded);
        using var trainer = new SpriteDitTrainer(config, Path.Combine(folder.Path, name), data, prompts, weights is null ? null : () => SafetensorsFile.Open(File(weights)), heldOut: heldOut, teacher: teacher);
        trainer.Run(null, stop?.Token ?? CancellationToken.None);
    }

    /// <summary>Trains a run at once, and another one that is stopped in between; fails unless both end in the same bits.</summary>
    /// <param name="config">Of three stages and two workers.</param>
    /// <param name="weights">Name of a file to start from, or null for new weights.</param>
    /// <param name="files">Files that must be equal.</param>
    public void AssertStopsWithoutATrace(SpriteDitConfig config, string? weights, params IEnumerable<string> files)
    {
        var threads = TorchRuntime.Threads;
        TorchRuntime.Threads = 1;
        using var data = Latents(config);
        Train(config, data, "whole", weights);

        // Six encodings a step (three stages, two workers): this is within the second, which is still finished.
        using var stop = new CancellationTokenSource();
        var encodings = 0;
        Train(config, data, "parts", weights, () => StopAt(Interlocked.Increment(ref encodings)), stop);
        Assert.True(System.IO.File.Exists(File("parts", "state-00000002.safetensors")));
        Train(config, data, "parts", weights);
        TorchRuntime.Threads = threads;
        foreach (var file in files)
            Assert.Equal(System.IO.File.ReadAllBytes(File("whole", file)), System.IO.File.ReadAllBytes(File("parts", file)));

        void StopAt(int encoding)
        {
            if (encoding == 8)
                stop.Cancel();
        }
    }

    public void Dispose()
    {
        Encoder.Dispose();
        folder.Dispose();
    }
}
