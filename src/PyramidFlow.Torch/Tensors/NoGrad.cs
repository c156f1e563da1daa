using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <summary>While open, operations of this thread are not recorded for backward. Not across an <c>await</c>.</summary>
public readonly ref struct NoGrad
{
    private readonly int before;

    private NoGrad(bool recording)
    {
        TorchRuntime.EnsureStarted();
        before = Native.pf_grad_mode(recording ? 1 : 0);
    }

    /// <summary>Whether this thread records now.</summary>
    public static bool IsRecording
    {
        get
        {
            using var probe = Begin();
            return probe.WasRecording;
        }
    }

    /// <summary>Whether this thread recorded before.</summary>
    internal bool WasRecording => before != 0;

    /// <summary>Stops recording: <c>using var _ = NoGrad.Begin();</c></summary>
    public static NoGrad Begin() => new(recording: false);

    /// <summary>Records again inside a region that does not.</summary>
    public static NoGrad Suspend() => new(recording: true);

    /// <summary>Goes back to the mode before.</summary>
    public void Dispose() => _ = Native.pf_grad_mode(before);
}
