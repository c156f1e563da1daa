using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Patchify and unpatchify: latent clips as tokens of 2x2 patches; the order within a token is row, column, channel.</summary>
public static class Patches
{
    /// <summary>Height and width of a patch in latent pixels.</summary>
    public const int Size = 2;

    /// <summary>[b, c, t, h, w] to [b, t*h/2*w/2, 4c], time outermost.</summary>
    public static Tensor Cut(Tensor clip)
    {
        var s = clip.Shape;
        return clip.Reshape(s[0], s[1], s[2], s[3] / Size, Size, s[4] / Size, Size)
            .Permute(0, 2, 3, 5, 4, 6, 1)                                                   // [b, t, h/2, w/2, 2, 2, c]
            .Reshape(s[0], s[2] * s[3] * s[4] / (Size * Size), Size * Size * s[1]);         // [b, n, 4c]
    }

    /// <summary>[b, n, 4c] to [b, c, t, h, w]; <paramref name="size"/> counts patches.</summary>
    public static Tensor Join(Tensor tokens, ClipSize size)
    {
        var (batch, channels) = (tokens.Size(0), tokens.Size(-1) / (Size * Size));
        return tokens.Reshape(batch, size.Time, size.Height, size.Width, Size, Size, channels)
            .Permute(0, 6, 1, 2, 4, 3, 5)                                                   // [b, c, t, h/2, 2, w/2, 2]
            .Reshape(batch, channels, size.Time, size.Height * Size, size.Width * Size);    // [b, c, t, h, w]
    }
}
