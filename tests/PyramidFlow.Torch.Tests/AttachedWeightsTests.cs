using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch.Tests;

public sealed class AttachedWeightsTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public AttachedWeightsTests()
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("w"), [("weight", Tensor.Arange(0, 6).Reshape(3, 2)), ("bias", Tensor.Ones([3]))]);
    }

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(ElementType.Float32)]
    [InlineData(ElementType.BFloat16)]
    public void Weights_come_when_they_are_needed_and_again_after_they_were_let_go(ElementType type)
    {
        var live = Tensor.LiveCount;
        using (var layer = new Linear(2, 3))
        {
            using var scope = new TensorScope();
            layer.Attach(SafetensorsFile.Open(folder.File("w")), type);
            Assert.Equal((type, Device.Cpu, false), (layer.Weight.Type, layer.Weight.Device, layer.Weight.HasValue));
            Assert.Equal(5, layer.Weight.Value.Select(0, 2).Select(0, 1).Item());
            layer.Release();
            Assert.False(layer.Weight.HasValue);
            Assert.Equal(4, layer.Weight.Value.Select(0, 2).Select(0, 0).Item());
            Assert.Equal(type, layer.Weight.Value.Type);
        }

        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void A_weight_that_was_set_stays()
    {
        using var scope = new TensorScope();
        using var layer = new Linear(2, 3);
        layer.Attach(SafetensorsFile.Open(folder.File("w")));
        layer.Weight.Value = Tensor.Zeros([3, 2]);
        layer.Release();
        Assert.Equal(0, layer.Weight.Value.Sum().Item());
    }

    [Fact]
    public void Attaching_the_wrong_checkpoint_is_an_error_at_once()
    {
        using var layer = new Linear(2, 4);
        var error = Assert.Throws<CheckpointException>(() => layer.Attach(SafetensorsFile.Open(folder.File("w"))));
        FaultAssert.Is(error, "weights_misfit", ("file", folder.File("w")),
            ("differences", $"{CheckpointFault.ShapeDiffers("weight", [3, 2], [4, 2])}; {CheckpointFault.ShapeDiffers("bias", [3], [4])}"));
    }

    [Fact]
    public void A_stream_holds_the_block_at_work_and_brings_the_next()
    {
        using var scope = new TensorScope();
        Linear[] blocks = [new(2, 3), new(2, 3), new(2, 3)];
        foreach (var block in blocks)
            block.Attach(SafetensorsFile.Open(folder.File("w")), ElementType.BFloat16);
        var stream = new WeightStream([.. blocks.Select(block => new[] { block.Weight, block.Bias! })]);
        for (var turn = 0; turn < 6; turn++)
        {
            var (now, next, after) = (blocks[turn % 3], blocks[(turn + 1) % 3], blocks[(turn + 2) % 3]);
            using (stream.Enter(turn % 3))
            {
                Assert.Equal(3, now.Forward(Tensor.Ones([1, 2], ElementType.BFloat16)).Size(1));
                stream.Settle();
                Assert.Equal((true, true, false), (now.Weight.HasValue, next.Weight.HasValue, after.Weight.HasValue));
            }

            Assert.False(now.Weight.HasValue);
        }

        Array.ForEach(blocks, block => block.Dispose());
    }

    [Fact]
    public void Pages_that_were_dropped_read_the_same_again()
    {
        const int count = 1 << 16;
        using var scope = new TensorScope();
        SafetensorsWriter.Write(folder.File("large"), [("a", Tensor.Arange(0, count)), ("b", Tensor.Ones([3]))]);
        using var source = SafetensorsFile.Open(folder.File("large"));
        var a = source.Read("a");
        var before = a.Sum().Item();
        source.Drop("a");
        source.Prefetch("a");
        Assert.Equal(before, a.Sum().Item());
        Assert.Equal(3, source.Read("b").Sum().Item());
    }
}
