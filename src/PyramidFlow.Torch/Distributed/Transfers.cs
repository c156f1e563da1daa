namespace PyramidFlow.Torch.Distributed;

/// <summary>Tensors on their way between processes. The transfers keep the memory of the tensors alive until they are waited for.</summary>
public sealed class Transfers
{
    private readonly ProcessGroup group;
    private nint handle;

    internal Transfers(ProcessGroup group, nint handle)
    {
        (this.group, this.handle) = (group, handle);
        if (handle == 0)
            throw group.Explain(Native.Error("a transfer between processes"));
    }

    /// <summary>Waits until everything has arrived, or left. Harmless when repeated.</summary>
    /// <exception cref="ProcessGroupException">A process is gone, makes another call, or does not come within the limit.</exception>
    public void Wait()
    {
        if (handle == 0)
            return;
        var failed = Native.pf_transfers_wait(handle) < 0;
        var error = failed ? Native.Error("a transfer between processes") : null;
        Native.pf_transfers_free(handle);
        handle = 0;
        if (error is not null)
            throw group.Explain(error);
    }
}
