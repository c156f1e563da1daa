using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Blocks whose activations can be left to <see cref="GradientCheckpointing"/>: one rule for both families.</summary>
internal static class Recomputation
{
    /// <summary><see cref="JointBlock.Forward"/>.</summary>
    internal static (Tensor? Text, Tensor X) Run(this JointBlock block, Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation,
        BlockPass pass, bool recompute)
    {
        if (!recompute || text is null)
            return block.Forward(text, x, modulation, pass);
        var results = GradientCheckpointing.Run(
            inputs =>
            {
                var (words, picture) = block.Forward(inputs[0], inputs[1], (inputs[2], inputs[3]), pass);
                return [words!, picture];
            },
            text, x, modulation.X, modulation.Text);
        return (results[0], results[1]);
    }

    /// <summary><see cref="JointBlock.ForwardLast"/>.</summary>
    internal static Tensor? RunLast(this JointBlock block, Tensor? text, Tensor x, (Tensor X, Tensor Text) modulation, BlockPass pass,
        long outputs, bool recompute) =>
        recompute && text is not null && outputs > 0
            ? GradientCheckpointing.Run(inputs => [block.ForwardLast(inputs[0], inputs[1], (inputs[2], inputs[3]), pass, outputs)!],
                text, x, modulation.X, modulation.Text)[0]
            : block.ForwardLast(text, x, modulation, pass, outputs);

    /// <summary><see cref="FluxSingleBlock.Forward"/>.</summary>
    internal static Tensor? Run(this FluxSingleBlock block, Tensor x, Tensor modulation, BlockPass pass, long outputs, bool recompute) =>
        recompute && outputs > 0
            ? GradientCheckpointing.Run(inputs => [block.Forward(inputs[0], inputs[1], pass, outputs)!], x, modulation)[0]
            : block.Forward(x, modulation, pass, outputs);
}
