using System.Globalization;

namespace PyramidFlow.Media;

/// <summary>The ffmpeg filters that convert decoded frames to displayed RGB: pixel shape, transparency, HDR, crop and resize.</summary>
/// <param name="Aspect">Pixel aspect ratio (width over height) after rotation.</param>
/// <param name="HasAlpha">Whether frames may be transparent; transparent parts become white.</param>
/// <param name="Hdr">HDR colours, or null.</param>
internal sealed record DisplayTransform(double Aspect = 1, bool HasAlpha = false, HdrColours? Hdr = null)
{
    /// <summary>Largest plausible pixel aspect ratio; beyond it the header is damaged and pixels count as square.</summary>
    public const double MostAspect = 16;

    private const string Convert = "scale=flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp,";

    /// <summary>Pixel aspect ratio from two numbers; 1 if they are implausible.</summary>
    public static double AspectOf(double width, double height) =>
        width > 0 && height > 0 && width / height is >= 1 / MostAspect and <= MostAspect ? width / height : 1;

    /// <summary>Display size of a stored frame, with at least as many pixels as stored.</summary>
    public static (long Width, long Height) Size(long width, long height, double aspect) => aspect > 1
        ? ((long)Math.Round(width * aspect), height)
        : (width, (long)Math.Round(height / aspect));

    /// <summary>The filter graph from one input to one output in 8-bit RGB.</summary>
    /// <param name="before">Filters to apply first, each followed by a comma.</param>
    /// <param name="size">Size to crop and resize to; null keeps the stored size.</param>
    public string Filter(string before, (int Width, int Height)? size)
    {
        var (crop, scale) = size is { } wanted
            ? (CoverCrop.Crop(wanted.Width, wanted.Height, Aspect) + ",", CoverCrop.Scale(wanted.Width, wanted.Height) + ",")
            : ("", Convert);
        if (!HasAlpha)
            return before + crop + scale + Hdr?.Filter + "format=rgb24";
        // The alpha channel bypasses the HDR conversion, which applies to light only.
        var picture = Hdr is null ? Convert + "format=rgba,"
            : $"{Convert}split[light][clear];[clear]format=rgba,alphaextract[alpha];[light]{Hdr.Filter}format=rgba[opaque];[opaque][alpha]alphamerge,";
        return $"{before}{crop}{picture}split[picture][copy];[copy]lutrgb=r=255:g=255:b=255:a=255[white];[white][picture]overlay=format=rgb,{scale}format=rgb24";
    }
}

/// <summary>
/// The resize of data loaders in this field: the largest centred crop of the target aspect ratio, resized with Lanczos. Cropping
/// first keeps pictures of extreme shape from becoming huge in between.
/// </summary>
internal static class CoverCrop
{
    /// <param name="width">Target width.</param>
    /// <param name="height">Target height.</param>
    /// <param name="aspect">Pixel aspect ratio (width over height).</param>
    public static string Crop(int width, int height, double aspect = 1)
    {
        var (toWidth, toHeight) = aspect == 1 ? ("", "") : (Times(1 / aspect), Times(aspect));
        return $"crop=w='max(1,min(iw,round(ih*{width}/{height}{toWidth})))':h='max(1,min(ih,round(iw*{height}/{width}{toHeight})))':exact=1";
    }

    public static string Scale(int width, int height) =>
        $"scale={width}:{height}:flags=lanczos+accurate_rnd+full_chroma_int+full_chroma_inp,setsar=1";

    /// <exception cref="MediaException">Only one size is set, or a size is out of range.</exception>
    public static void Check(int? width, int? height)
    {
        if (width is null != height is null)
            throw MediaFault.HalfSize();
        if (width is < 1 or > 16384 || height is < 1 or > 16384)
            throw MediaFault.SizeOutOfRange(width, height);
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

    /// <summary>HDR colours of an RGB picture from its transfer number (ITU-T H.273); null for SDR.</summary>
    public static HdrColours? FromRgbTransfer(int transfer) => transfer switch
    {
        16 => new(Pq, null, "gbr"),
        18 => new(Hlg, null, "gbr"),
        _ => null,
    };

    /// <summary>HDR colours from the names of ffprobe; null for SDR.</summary>
    public static HdrColours? FromNames(string? transfer, string? primaries, string? matrix) =>
        transfer is Pq or Hlg ? new(transfer, Known(primaries), Known(matrix)) : null;

    /// <summary>Common name.</summary>
    public string Name => Transfer == Pq ? "PQ" : "HLG";

    /// <summary>
    /// Filters for the conversion to SDR, each followed by a comma. Reference white of BT.2408, 203 nits, becomes white; brighter
    /// values are compressed into the top tenth.
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

    /// <summary>The error if ffmpeg lacks a filter for the conversion, else null.</summary>
    public MediaException? Missing(string name, ErrorOutput errors) => errors.Contains("No such filter")
        ? MediaFault.Hdr(name, Name)
        : null;

    private static string? Known(string? name) => name is null or "unknown" or "reserved" ? null : name;
}
