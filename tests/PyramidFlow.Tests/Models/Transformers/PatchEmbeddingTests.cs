using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

public sealed class PatchEmbeddingTests : IDisposable
{
    // Positions on a side of the table.
    private const int Side = 16;

    private readonly RandomGenerator generator = new(3);

    public void Dispose() => generator.Dispose();

    [Fact]
    public void A_frame_lies_in_the_middle_of_the_table()
    {
        using var scope = new TensorScope();
        using var embedding = Embedding(Tiny.MmditConfig);
        var places = embedding.PositionEmbeddings([new ClipSize(1, 4, 6)])[0];
        Assert.Equal([1, 1, 24, 32], places.Shape);
        GoldenTensors.AssertClose(Grid().Narrow(1, 6, 4).Narrow(2, 5, 6).Flatten(1, 2).Unsqueeze(1), places, 0, 0, "places");
        places.Dispose();
    }

    [Fact]
    public void A_smaller_clip_lies_over_the_whole_unit_or_in_the_middle_of_its_own()
    {
        using var scope = new TensorScope();
        using var over = Embedding(Tiny.MmditConfig);
        using var own = Embedding(Tiny.MmditConfig with { InterpConditionPos = false });
        ClipSize[] clips = [new(2, 2, 3), new(1, 4, 6)];
        // Half the resolution: the mean of each 2x2 neighbours.
        var mean = Grid().Narrow(1, 6, 4).Narrow(2, 5, 6).Reshape(1, 2, 2, 3, 2, 32).Mean([2, 4]).Flatten(1, 2).Unsqueeze(1);
        GoldenTensors.AssertClose(mean, over.PositionEmbeddings(clips)[0], 1e-6, 0, "over the unit");
        GoldenTensors.AssertClose(Grid().Narrow(1, 7, 2).Narrow(2, 6, 3).Flatten(1, 2).Unsqueeze(1), own.PositionEmbeddings(clips)[0], 0, 0, "its own");
    }

    [Fact]
    public void A_table_in_time_runs_on_through_the_clips()
    {
        using var scope = new TensorScope();
        using var embedding = Embedding(Tiny.MmditConfig with { TempPosEmbedType = "sincos", MaxNumFrames = 4 });
        using var still = Embedding(Tiny.MmditConfig);
        ClipSize[] clips = [new(2, 4, 6), new(1, 4, 6)];
        var (places, alone) = (embedding.PositionEmbeddings(clips), still.PositionEmbeddings(clips));
        var times = Tensor.From(SinCosTable.Line(4, 1, 32), 1, 4, 1, 32);
        GoldenTensors.AssertClose(alone[0] + times.Narrow(1, 0, 2), places[0], 1e-6, 0, "history");
        GoldenTensors.AssertClose(alone[1] + times.Narrow(1, 2, 1), places[1], 1e-6, 0, "unit");
        var error = Assert.Throws<ArgumentException>(() => embedding.PositionEmbeddings([new(4, 4, 6), new(1, 4, 6)]));
        Assert.Contains("5 latent frames are more than the 4", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void A_frame_larger_than_the_table_is_refused()
    {
        using var embedding = Embedding(Tiny.MmditConfig);
        var error = Assert.Throws<ArgumentException>(() => embedding.PositionEmbeddings([new(1, 4, 6), new(1, 4, Side + 1)]));
        Assert.Contains("17x4 patches are more than the 16x16", error.Message, StringComparison.Ordinal);
    }

    private static Tensor Grid() => Tensor.From(SinCosTable.Grid(Side, 1, 32), 1, Side, Side, 32);

    private PatchEmbedding Embedding(PyramidMmditConfig config)
    {
        var embedding = new PatchEmbedding(config);
        embedding.Initialize(generator);
        return embedding;
    }
}
