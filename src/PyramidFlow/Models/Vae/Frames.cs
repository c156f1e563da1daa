using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>Between videos and batches of single frames.</summary>
internal static class Frames
{
    /// <summary>[b, c, t, h, w] to [b * t, c, h, w].</summary>
    internal static Tensor Merge(Tensor x) => x.Transpose(1, 2).Flatten(0, 1);

    /// <summary>[b * t, c, h, w] to [b, c, t, h, w].</summary>
    internal static Tensor Split(Tensor x, long batch) => x.Unflatten(0, batch, -1).Transpose(1, 2);
}
