using System.Globalization;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Loop;

/// <summary>Replays the draws of a golden case in their order: <c>rand/NNN.rand</c> are uniform, <c>rand/NNN.randn...</c> normal.</summary>
internal sealed class RecordedDraws(GoldenCase golden) : ITrainingDraws
{
    private readonly Queue<string> names = new(golden.File.Entries.Keys
        .Where(key => key.StartsWith("rand/", StringComparison.Ordinal))
        .OrderBy(key => int.Parse(key["rand/".Length..key.IndexOf('.', StringComparison.Ordinal)], CultureInfo.InvariantCulture)));

    /// <summary>Draws that nobody asked for.</summary>
    internal int Left => names.Count;

    public float[] Uniform(int count) => Next("rand", [count]).ToArray<float>();

    public Tensor Normal(long[] shape) => Next("randn", shape);

    private Tensor Next(string kind, long[] shape)
    {
        var name = names.Dequeue();
        var recorded = golden.Tensor(name);
        Assert.Equal(kind, name[(name.IndexOf('.', StringComparison.Ordinal) + 1)..].Split('_')[0]);
        Assert.Equal(shape, recorded.Shape);
        return recorded;
    }
}
