namespace PyramidFlow.Media;

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
