using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <summary>
/// A CPU random generator of its own: the same seed gives the same draws on every device, whatever ran before
/// (draw on the CPU, then move).
/// </summary>
public sealed class RandomGenerator : IDisposable
{
    private nint handle;

    /// <summary>Creates a generator.</summary>
    public RandomGenerator(ulong seed)
    {
        TorchRuntime.EnsureStarted();
        handle = Native.pf_generator_new(seed);
        if (handle == 0)
            throw Native.Error("generator");
        Seed = seed;
    }

    /// <summary>What it was seeded with.</summary>
    public ulong Seed { get; }

    internal nint Handle => handle != 0 ? handle : throw new ObjectDisposedException(nameof(RandomGenerator));

    /// <summary>Full state, a byte tensor, for checkpoints.</summary>
    public Tensor GetState()
    {
        var state = Native.pf_generator_state(Handle);
        return state != 0 ? Tensor.Own(state) : throw Native.Error("generator state");
    }

    /// <summary>Goes back to a state from <see cref="GetState"/>.</summary>
    public void SetState(Tensor state)
    {
        if (Native.pf_generator_set_state(Handle, state.Handle) < 0)
            throw Native.Error("generator state");
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (handle != 0)
            Native.pf_generator_free(handle);
        handle = 0;
    }
}
