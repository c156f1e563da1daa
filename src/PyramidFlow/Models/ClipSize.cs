using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Size of a clip in tokens.</summary>
/// <param name="Time">Latent frames.</param>
/// <param name="Height">Rows of 2x2 patches.</param>
/// <param name="Width">Columns of 2x2 patches.</param>
public readonly record struct ClipSize(long Time, long Height, long Width)
{
    /// <summary>Tokens of one latent frame.</summary>
    public long FrameTokens => Height * Width;

    /// <summary>Tokens of the clip.</summary>
    public long Tokens => Time * FrameTokens;

    /// <summary>Size of a latent clip [b, c, t, h, w].</summary>
    /// <exception cref="ArgumentException">It has other dimensions, or its height or width is odd.</exception>
    public static ClipSize Of(Tensor clip)
    {
        var shape = clip.Shape;
        return shape.Length == 5 && shape[3] % Patches.Size == 0 && shape[4] % Patches.Size == 0
            ? new ClipSize(shape[2], shape[3] / Patches.Size, shape[4] / Patches.Size)
            : throw new ArgumentException($"a clip of shape [{string.Join(", ", shape)}] is not [batch, channels, time, height, width] with even height and width");
    }
}
