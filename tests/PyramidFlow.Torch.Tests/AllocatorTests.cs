namespace PyramidFlow.Torch.Tests;

/// <summary>Freed CPU memory that is kept for reuse.</summary>
public sealed class AllocatorTests : IDisposable
{
    private const long Megabyte = 1 << 20;
    private const long DefaultCache = 512 * Megabyte;

    // Whatever else this process holds meanwhile.
    private const long Slack = 4 * Megabyte;

    public AllocatorTests()
    {
        TorchRuntime.LimitCache(0);
        TorchRuntime.TrimMemory();
    }

    [Fact]
    public void Never_makes_the_process_larger_than_its_tensors_have_been()
    {
        var before = TorchRuntime.CpuMemory.InUse;
        Bytes(64).Dispose();
        Assert.InRange(TorchRuntime.CpuMemory.Cached, 64 * Megabyte, (72 * Megabyte) + Slack);

        using var other = Bytes(40);
        var (inUse, cached, _) = TorchRuntime.CpuMemory;

        Assert.InRange(inUse - before + cached, 40 * Megabyte, (72 * Megabyte) + Slack);
    }

    [Fact]
    public void Goes_to_tensors_of_the_same_size()
    {
        Bytes(64).Dispose();
        var cached = TorchRuntime.CpuMemory.Cached;

        using var again = Bytes(64);

        Assert.InRange(cached - TorchRuntime.CpuMemory.Cached, 64 * Megabyte, 72 * Megabyte);
    }

    [Fact]
    public void Blocks_freed_longest_ago_go_first()
    {
        var all = new[] { Bytes(24), Bytes(32), Bytes(40) };
        Array.ForEach(all, tensor => tensor.Dispose());

        using var larger = Bytes(48);           // drives out the first two at most
        var cached = TorchRuntime.CpuMemory.Cached;
        using var latest = Bytes(40);

        Assert.InRange(cached - TorchRuntime.CpuMemory.Cached, 40 * Megabyte, (45 * Megabyte) + Slack);
    }

    [Fact]
    public void Is_given_back_after_work_but_for_what_is_quickly_used_again()
    {
        TorchRuntime.LimitCache(32 * Megabyte);
        using var model = Bytes(96);
        var all = new[] { Bytes(64), Bytes(24) };
        Array.ForEach(all, tensor => tensor.Dispose());
        Assert.True(TorchRuntime.CpuMemory.Cached > 80 * Megabyte);

        TorchRuntime.RelaxMemory();
        Assert.InRange(TorchRuntime.CpuMemory.Cached, 24 * Megabyte, 32 * Megabyte);

        // And it stays when something small comes and goes.
        Bytes(1).Dispose();
        Assert.InRange(TorchRuntime.CpuMemory.Cached, 24 * Megabyte, 32 * Megabyte);
    }

    public void Dispose() => TorchRuntime.LimitCache(DefaultCache);

    private static Tensor Bytes(long megabytes) => TensorScope.Release(Tensor.Empty([megabytes * Megabyte], ElementType.UInt8));
}
