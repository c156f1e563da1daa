using System.Globalization;

namespace PyramidFlow.Media;

/// <summary>
/// The resize of the field's data loaders: the largest centred part of the wanted shape, resized with Lanczos. Cropping
/// comes first so that a picture of extreme shape never becomes huge on the way.
/// </summary>
internal static class CoverCrop
{
    /// <param name="width">Width of the wanted shape.</param>
    /// <param name="height">Height of the wanted shape.</param>
    /// <param name="aspect">Width of a stored pixel divided by its height.</param>
    public static string Crop(int width, int height, double aspect = 1)
    {
        var (toWidth, toHeight) = aspect == 1 ? ("", "") : (Times(1 / aspect), Times(aspect));
        return $"crop=w='max(1,min(iw,round(ih*{width}/{height}{toWidth})))':h='max(1,min(ih,round(iw*{height}/{width}{toHeight})))':exact=1";
    }

    public static string Scale(int width, int height) =>
        $"scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp,setsar=1";

    /// <exception cref="MediaException">One size without the other, or an impossible one.</exception>
    public static void Check(int? width, int? height)
    {
        if (width is null != height is null)
            throw new MediaException("width and height go together: give both or neither");
        if (width is < 1 or > 16384 || height is < 1 or > 16384)
            throw new MediaException($"cannot resize to {width}x{height}: sizes are 1 to 16384");
    }

    private static string Times(double factor) => "*" + factor.ToString("F9", CultureInfo.InvariantCulture);
}
