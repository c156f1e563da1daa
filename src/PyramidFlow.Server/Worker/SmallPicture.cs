using PyramidFlow.Media;

namespace PyramidFlow.Server.Worker;

/// <summary>Pictures made smaller.</summary>
internal static class SmallPicture
{
    /// <summary>Longest side of a preview, a thumbnail and a picture of a spritesheet, in pixels.</summary>
    public const int PreviewSide = 512, ThumbnailSide = 320, SheetSide = 160;

    /// <summary>The picture with its longer side at most so long: each pixel is the mean of those it covers.</summary>
    public static RgbImage Of(RgbImage picture, int side)
    {
        var (w, h) = (picture.Width, picture.Height);
        if (Math.Max(w, h) <= side)
            return picture;
        var (width, height) = (Math.Max(1, w * side / Math.Max(w, h)), Math.Max(1, h * side / Math.Max(w, h)));
        var from = picture.Pixels.Span;
        var to = new byte[width * height * 3];
        for (var y = 0; y < height; y++)
        {
            var (top, bottom) = (y * h / height, Math.Max((y * h / height) + 1, (y + 1) * h / height));
            for (var x = 0; x < width; x++)
            {
                var (left, right) = (x * w / width, Math.Max((x * w / width) + 1, (x + 1) * w / width));
                var (red, green, blue) = (0, 0, 0);
                for (var row = top; row < bottom; row++)
                {
                    for (var i = ((row * w) + left) * 3; i < ((row * w) + right) * 3; i += 3)
                        (red, green, blue) = (red + from[i], green + from[i + 1], blue + from[i + 2]);
                }

                var (count, o) = ((bottom - top) * (right - left), ((y * width) + x) * 3);
                (to[o], to[o + 1], to[o + 2]) = ((byte)(red / count), (byte)(green / count), (byte)(blue / count));
            }
        }

        return new RgbImage(width, height, to);
    }
}
