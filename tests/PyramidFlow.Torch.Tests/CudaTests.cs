namespace PyramidFlow.Torch.Tests;

/// <summary>What only a GPU can show; skipped where there is none.</summary>
public class CudaTests
{
    private static readonly Device Cuda = new(DeviceType.Cuda, 0);

    public CudaTests() => Assert.SkipUnless(TorchRuntime.HasCuda, "this libtorch sees no CUDA device");

    [Theory]
    [InlineData(1)]
    [InlineData(32 << 20)]
    [InlineData((32 << 20) + 1)]
    [InlineData((100 << 20) - 3)]
    public void Uploads_are_whole_whatever_their_size(int bytes)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(5);
        var source = Tensor.RandInt(0, 256, [bytes], generator).To(ElementType.UInt8);
        for (var round = 0; round < 3; round++)
        {
            using var inner = new TensorScope();
            var there = DeviceUpload.To(Cuda).Send(source);
            Assert.Equal(DeviceType.Cuda, there.Device.Type);
            Assert.True((there.To(Device.Cpu) - source).Abs().Max().Item() == 0);
        }
    }

    [Fact]
    public void Uploads_keep_shape_and_type()
    {
        using var scope = new TensorScope();
        var source = Tensor.From([1f, 2, 3, 4, 5, 6], 2, 3).To(ElementType.BFloat16);
        var there = DeviceUpload.To(Cuda).Send(source);
        Assert.Equal([2, 3], there.Shape);
        Assert.Equal(ElementType.BFloat16, there.Type);
        Assert.Equal(source.To(ElementType.Float32).ToArray<float>(), there.To(ElementType.Float32).ToArray<float>());
    }

    [Fact]
    public void Memory_of_the_device_is_counted()
    {
        const long bytes = 64L << 20;
        Assert.SkipUnless(DeviceMemory.Read(Cuda) is not null, $"libtorch {TorchRuntime.Version} does not tell");
        TorchRuntime.TrimMemory();
        DeviceMemory.ResetPeak(Cuda);
        var before = DeviceMemory.Read(Cuda)!.Value;
        using (var scope = new TensorScope())
        {
            Tensor.Empty([bytes], ElementType.UInt8, Cuda);
            var held = DeviceMemory.Read(Cuda)!.Value;
            Assert.Equal(before.InUse + bytes, held.InUse);
            Assert.True(held.Free < held.Total);
        }

        var after = DeviceMemory.Read(Cuda)!.Value;
        Assert.Equal(before.InUse, after.InUse);
        Assert.InRange(after.Peak, before.InUse + bytes, before.InUse + bytes + (4L << 20));
        Assert.True(after.Cached >= bytes);
        TorchRuntime.TrimMemory();
        Assert.True(DeviceMemory.Read(Cuda)!.Value.Cached < after.Cached);
    }

    [Fact]
    public void Too_much_memory_is_an_error_of_its_own_and_work_goes_on()
    {
        using var scope = new TensorScope();
        Assert.Throws<TorchMemoryException>(() => Tensor.Empty([1L << 50], ElementType.UInt8, Cuda));
        Assert.Equal(4, Tensor.Ones([4], device: Cuda).Sum().Item());
    }

    [Fact]
    public void Float32_convolutions_are_not_rounded_to_fewer_bits()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(6);
        var (x, weight) = (Tensor.Randn([1, 64, 4, 32, 32], generator), Tensor.Randn([64, 64, 3, 3, 3], generator));
        var expected = x.To(ElementType.Float64).Conv3d(weight.To(ElementType.Float64), null, [1, 1, 1], [1, 1, 1]);
        var actual = x.To(Cuda).Conv3d(weight.To(Cuda), null, [1, 1, 1], [1, 1, 1]).To(Device.Cpu).To(ElementType.Float64);
        Assert.InRange((actual - expected).Norm().Item() / expected.Norm().Item(), 0, 1e-5);
    }
}
