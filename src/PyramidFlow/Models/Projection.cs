using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Linear layers with the released trainer's starting weights.</summary>
internal static class Projection
{
    internal static Linear New(long inputs, long outputs) => new(inputs, outputs, Initializers.XavierUniform(inputs, outputs));
}
