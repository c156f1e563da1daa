using PyramidFlow.Torch.Interop;

namespace PyramidFlow.Torch;

/// <content>How the operators reach libtorch.</content>
public sealed partial class Tensor
{
    private static Tensor Call(string op, params ReadOnlySpan<Arg> args) => Operator.Find(op).Call(args);

    private static Tensor[] CallMany(string op, params ReadOnlySpan<Arg> args) => Operator.Find(op).CallMany(args)!;

    private Tensor RunInPlace(string op, params ReadOnlySpan<Arg> args)
    {
        Operator.Find(op).Run(args);
        return this;
    }
}
