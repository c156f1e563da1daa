namespace PyramidFlow.Torch.Interop;

/// <summary>One operator many times in a row inside libtorch: what a call costs without the way there and back.</summary>
internal static class Repetition
{
    /// <summary>Adds two tensors so many times; the sums are freed at once.</summary>
    /// <exception cref="TorchException">Their shapes do not fit.</exception>
    internal static void Add(Tensor a, Tensor b, long count)
    {
        if (Native.pf_repeat_add(a.Handle, b.Handle, count) < 0)
            throw Native.Error("the addition failed");
    }
}
