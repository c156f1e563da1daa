namespace PyramidFlow.Media;

/// <summary>How stored frames become what viewers see: the ffmpeg filters from a decoder to RGB.</summary>
/// <param name="Aspect">Width of a stored pixel divided by its height, once upright.</param>
/// <param name="HasAlpha">Whether parts may be transparent; they become white.</param>
/// <param name="Hdr">Colours beyond those of a usual screen, or null.</param>
internal sealed record ShownFrames(double Aspect = 1, bool HasAlpha = false, HdrColours? Hdr = null)
{
    /// <summary>Shapes beyond this are a damaged header, and pixels count as square.</summary>
    public const double MostAspect = 16;

    private const string Convert = "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,";

    /// <summary>A pixel's shape as it is used: 1 where the two numbers say nothing that can be.</summary>
    public static double AspectOf(double width, double height) =>
        width > 0 && height > 0 && width / height is >= 1 / MostAspect and <= MostAspect ? width / height : 1;

    /// <summary>The size as shown of a frame stored with square pixels or others; no fewer pixels than stored.</summary>
    public static (long Width, long Height) Size(long width, long height, double aspect) => aspect > 1
        ? ((long)Math.Round(width * aspect), height)
        : (width, (long)Math.Round(height / aspect));

    /// <summary>Filters from one input to one output, RGB with 8 bits.</summary>
    /// <param name="before">Filters with a comma behind each that come first.</param>
    /// <param name="size">Size to cut to the shape of and to resize to; null leaves the frames as they are stored.</param>
    public string Filter(string before, (int Width, int Height)? size)
    {
        var (crop, scale) = size is { } wanted
            ? (CoverCrop.Crop(wanted.Width, wanted.Height, Aspect) + ",", CoverCrop.Scale(wanted.Width, wanted.Height) + ",")
            : ("", Convert);
        if (!HasAlpha)
            return before + crop + scale + Hdr?.Filter + "format=rgb24";
        // What is transparent has no light to convert: it goes around the conversion.
        var picture = Hdr is null ? Convert + "format=rgba,"
            : $"{Convert}split[light][clear];[clear]format=rgba,alphaextract[alpha];[light]{Hdr.Filter}format=rgba[opaque];[opaque][alpha]alphamerge,";
        return $"{before}{crop}{picture}split[picture][copy];[copy]lutrgb=r=255:g=255:b=255:a=255[white];[white][picture]overlay=format=rgb,{scale}format=rgb24";
    }
}
