using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>Replays the draws of a golden case. The noise of all units is one draw there, taken frame after frame.</summary>
internal sealed class RecordedNoise(GoldenCase golden) : INoiseSource
{
    private readonly Queue<string> blocks = new(Draws(golden, "block_noise"));
    private long frame;

    /// <summary>Whether every draw has been used.</summary>
    internal bool IsUsedUp => blocks.Count == 0;

    public Tensor Latents(long[] shape)
    {
        var all = golden.Tensor(Draws(golden, "randn_latents").Single());
        var part = all.Narrow(2, frame, shape[2]);
        Assert.Equal(shape, part.Shape);
        frame += shape[2];
        return part;
    }

    public Tensor Block(long[] shape, double gamma)
    {
        var noise = golden.Tensor(blocks.Dequeue());
        Assert.Equal(shape, noise.Shape);
        return noise;
    }

    public Tensor Posterior(long[] shape)
    {
        var noise = golden.Tensor(Draws(golden, "randn_posterior").Single());
        Assert.Equal(shape, noise.Shape);
        return noise;
    }

    // rand/<nnn>.<what>, numbered in call order.
    private static IEnumerable<string> Draws(GoldenCase golden, string what) => golden.File.Entries.Keys
        .Where(key => key.StartsWith("rand/", StringComparison.Ordinal) && key.EndsWith("." + what, StringComparison.Ordinal))
        .OrderBy(key => int.Parse(key["rand/".Length..key.IndexOf('.', StringComparison.Ordinal)], CultureInfo.InvariantCulture));
}
