using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <content>Gradients.</content>
public sealed unsafe partial class Tensor
{
    /// <summary>Whether operations on it are recorded for <see cref="Backward"/>.</summary>
    public bool RequiresGrad
    {
        get => Native.pf_tensor_requires_grad(Handle) != 0;
        set
        {
            if (Native.pf_tensor_set_requires_grad(Handle, value ? 1 : 0) < 0)
                throw Native.Error("requires_grad");
        }
    }

    /// <summary>The accumulated gradient, or null when there is none.</summary>
    public Tensor? Grad
    {
        get
        {
            var gradient = Native.pf_tensor_grad(Handle);
            return gradient == 0 ? null : Own(gradient);
        }

        set
        {
            if (Native.pf_tensor_set_grad(Handle, value?.Handle ?? 0) < 0)
                throw Native.Error("grad");
        }
    }

    /// <summary>Accumulates the gradients of all leaves this tensor depends on.</summary>
    /// <param name="gradient">Gradient of this tensor; null stands for one and needs a scalar.</param>
    /// <param name="retainGraph">Keep what was recorded for another call.</param>
    public void Backward(Tensor? gradient = null, bool retainGraph = false)
    {
        nint root = Handle, seed = gradient?.Handle ?? 0;
        if (Native.pf_backward(&root, &seed, 1, retainGraph ? 1 : 0) < 0)
            throw Native.Error("backward");
    }
}
