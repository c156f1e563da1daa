namespace PyramidFlow.Media;

/// <summary>
/// The resize of the field's data loaders: the largest centred part of the wanted shape, resized with Lanczos. Cropping
/// comes first so that a picture of extreme shape never becomes huge on the way.
/// </summary>
internal static class CoverCrop
{
    public static string Filter(int width, int height) => $"{Crop(width, height)},{Scale(width, height)}";

    public static string Crop(int width, int height) =>
        $"crop=w='max(1,min(iw,round(ih*{width}/{height})))':h='max(1,min(ih,round(iw*{height}/{width})))':exact=1";

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
}
