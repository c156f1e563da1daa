using System.Text;
using PyramidFlow.Media;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>What is read of pictures and videos without ffmpeg, and what ffprobe says.</summary>
internal static class MediaTargets
{
    public static IEnumerable<FuzzTarget> All()
    {
        var (png, gif) = (Png(), Gif());
        byte[][] chunks = FuzzTargets.Utf8("IHDR", "tEXt", "zTXt", "iTXt", "eXIf", "IDAT", "IEND", "RIFF", "WEBP", "VP8X", "EXIF", "Exif\0\0II*\0");
        yield return new("picture-header", Header, [typeof(InvalidDataException)],
            [png, gif, [0xFF, 0xD8, 0xFF, 0xE1, 0, 16, .. "Exif\0\0II*\0\b\0\0\0\0\0"u8, 0xFF, 0xC0, 0, 11, 8, 0, 16, 0, 16, 1, 1, 0x11, 0, 0xFF, 0xD9],
                [.. "RIFF"u8, 30, 0, 0, 0, .. "WEBPVP8X"u8, 10, 0, 0, 0, 2, 0, 0, 0, 15, 0, 0, 15, 0, 0, .. "EXIF\0\0\0\0"u8], [.. "RIFF"u8, 20, 0, 0, 0, .. "WEBPVP8L"u8, 5, 0, 0, 0, 0x2f, 0, 0, 0, 0, 0]], chunks);
        yield return new("png-texts", FuzzTargets.AsFile("a.png", path => PngText.Read(path)), [typeof(MediaException)], [png], chunks);
        yield return new("gif-texts", input => GifComments.Read(new MemoryStream(input)), [typeof(InvalidDataException), typeof(EndOfStreamException)], [gif], [[0x21, 0xFE], [0x2C], [0x3B]]);
        yield return new("mp4-texts", input => Mp4Texts.Read(new MemoryStream(input)), [typeof(EndOfStreamException)], [Mp4()], FuzzTargets.Utf8("ftyp", "moov", "udta", "meta", "keys", "ilst", "data", "mdta"));
        yield return new("probe", Probe, [],
            FuzzTargets.Utf8("""{"streams":[{"codec_name":"h264","width":64,"height":48,"avg_frame_rate":"24/1","r_frame_rate":"24/1","sample_aspect_ratio":"1:1","duration":"1.0","nb_frames":"24","tags":{"a":"b","rotate":"90"},"side_data_list":[{"rotation":-90}],"color_transfer":"smpte2084"}],"format":{"duration":"1.0","tags":{"comment":"x"}}}"""),
            FuzzTargets.Utf8("\"rotation\":", "\"0/0\"", "\"N/A\"", "\"1:0\"", "\"duration\":\"-1\"", "null"));
    }

    private static void Header(byte[] input)
    {
        var header = PictureHeader.Read(input);
        if (header is not null && (header.Width < 0 || header.Height < 0))
            throw new WrongResultException("a picture of negative size");
        if (PictureTrim.FirstFrame(input, header).Length > input.Length + 64)
            throw new WrongResultException("a picture grew by being trimmed");
    }

    private static void Probe(byte[] input)
    {
        if (VideoInfoReader.Read(Encoding.UTF8.GetString(input)) is { } info && (info.Width < 1 || info.Height < 1 || !(info.Fps >= 0) || info.FrameCount < 0))
            throw new WrongResultException($"a video of {info.Width}x{info.Height}, {info.Fps} frames a second, {info.FrameCount} frames");
    }

    private static byte[] Png()
    {
        using var file = new MemoryStream();
        file.Write(PngChunk.Signature);
        PngChunk.Write(file, "IHDR"u8, [0, 0, 0, 2, 0, 0, 0, 2, 8, 2, 0, 0, 0]);
        PngText.Write(file, "comment", "a red ball");
        PngText.Write(file, "prompt", "ein Bär 😀");
        PngChunk.Write(file, "zTXt"u8, [.. "k\0\0"u8, 0x78, 0x9C, 0x4B, 0x04, 0x00, 0x00, 0x62, 0x00, 0x62]);
        PngChunk.Write(file, "eXIf"u8, [.. "MM\0*\0\0\0\b\0\u0001"u8, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 6, 0, 0]);
        PngChunk.Write(file, "IEND"u8, []);
        return file.ToArray();
    }

    private static byte[] Gif()
    {
        using var file = new MemoryStream();
        file.Write([.. "GIF89a"u8, 2, 0, 2, 0, 0x80, 0, 0, 0, 0, 0, 255, 255, 255, 0x2C, 0, 0, 0, 0, 2, 0, 2, 0, 0, 2, 2, 0x44, 1, 0, 0x3B]);
        GifComments.Append(file, new Dictionary<string, string> { ["comment"] = "a red ball", ["seed"] = "7" });
        return file.ToArray();
    }

    private static byte[] Mp4()
    {
        var key = Box("keys", [0, 0, 0, 0, 0, 0, 0, 1, .. Box("mdta", [.. "comment"u8])]);
        var item = Box("\0\0\0\u0001", Box("data", [0, 0, 0, 1, 0, 0, 0, 0, .. "{}"u8]));
        return [.. Box("ftyp", [.. "isom\0\0\0\0"u8]), .. Box("mdat", new byte[16]), .. Box("moov", Box("udta", Box("meta", [0, 0, 0, 0, .. key, .. Box("ilst", item)]))), .. Box("free", new byte[16])];
    }

    private static byte[] Box(string type, byte[] content) => [0, 0, (byte)((content.Length + 8) >> 8), (byte)(content.Length + 8), .. Encoding.Latin1.GetBytes(type), .. content];
}
