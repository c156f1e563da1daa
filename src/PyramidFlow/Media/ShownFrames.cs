using System.Globalization;

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

/// <summary>Colours of HDR, which are brought to those of a usual screen (BT.709): PQ and HLG of BT.2100.</summary>
/// <param name="Transfer">Transfer function as ffmpeg names it.</param>
/// <param name="Primaries">Primaries as ffmpeg names them; null where the file does not say.</param>
/// <param name="Matrix">Matrix as ffmpeg names it; null where the file does not say.</param>
internal sealed record HdrColours(string Transfer, string? Primaries, string? Matrix)
{
    private const string Pq = "smpte2084", Hlg = "arib-std-b67";

    /// <summary>Of a picture in RGB that says so by number (ITU-T H.273), or null.</summary>
    public static HdrColours? OfRgb(int transfer) => transfer switch
    {
        16 => new(Pq, null, "gbr"),
        18 => new(Hlg, null, "gbr"),
        _ => null,
    };

    /// <summary>Of what ffprobe says, or null when it is no HDR.</summary>
    public static HdrColours? Of(string? transfer, string? primaries, string? matrix) =>
        transfer is Pq or Hlg ? new(transfer, Known(primaries), Known(matrix)) : null;

    /// <summary>What people call it.</summary>
    public string Name => Transfer == Pq ? "PQ" : "HLG";

    /// <summary>
    /// Filters with a comma behind each. White of BT.2408, 203 nits, is white; what is brighter is pressed into the last tenth.
    /// </summary>
    public string Filter
    {
        get
        {
            var primaries = Primaries ?? "bt2020";
            var input = $"tin={Transfer}:pin={primaries}:min={Matrix ?? "bt2020nc"}{(Matrix == "gbr" ? ":rin=full" : "")}";
            return (Matrix == "gbr" ? "format=gbrp12," : "format=yuv444p12,")
                + $"zscale={input}:t=linear:npl=203:p={primaries}:m=gbr:r=full,format=gbrpf32le,zscale=p=bt709,tonemap=mobius:param=0.9:desat=0,"
                + "zscale=t=bt709:m=gbr:r=full,format=gbrp,";
        }
    }

    /// <summary>The error where ffmpeg lacks a filter for it, else null.</summary>
    public MediaException? Missing(string name, LastLines errors) => errors.Contains("No such filter")
        ? new MediaException($"{name} is HDR ({Name}), and this ffmpeg cannot convert that because it was built without zscale: install one that has it (that of Debian and Ubuntu does), or convert the file to SDR first")
        : null;

    private static string? Known(string? name) => name is null or "unknown" or "reserved" ? null : name;
}
