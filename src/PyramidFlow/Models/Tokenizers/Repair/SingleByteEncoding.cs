using System.Collections.Frozen;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// A single-byte encoding in which UTF-8 text is often decoded by mistake. Bytes without a character map to the C1 control of the same
/// number.
/// </summary>
internal sealed class SingleByteEncoding
{
    private const char Substitute = '\u001A';

    private const string C1Controls =
        "\u0080\u0081\u0082\u0083\u0084\u0085\u0086\u0087\u0088\u0089\u008A\u008B\u008C\u008D\u008E\u008F"
        + "\u0090\u0091\u0092\u0093\u0094\u0095\u0096\u0097\u0098\u0099\u009A\u009B\u009C\u009D\u009E\u009F";

    private const string LatinSigns = "\u00A0¡¢£¤¥¦§¨©ª«¬\u00AD®¯°±²³´µ¶·¸¹º»¼½¾¿";

    private readonly FrozenDictionary<char, byte> bytes;

    private SingleByteEncoding(string upperHalf, bool marksLosses, bool restoresSpaces = true)
    {
        UpperHalf = upperHalf;
        MarksLosses = marksLosses;
        RestoresSpaces = restoresSpaces;
        var map = new Dictionary<char, byte>();
        for (var b = 0; b < 0x80; b++)
            map[(char)b] = (byte)b;
        for (var i = 0; i < upperHalf.Length; i++)
            map[upperHalf[i]] = (byte)(0x80 + i);
        if (marksLosses)
        {
            map.Remove(Substitute);
            map['\uFFFD'] = (byte)Substitute;
        }

        bytes = map.ToFrozenDictionary();
    }

    public static SingleByteEncoding Latin1 { get; } = new(
        C1Controls
        + LatinSigns
        + "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß"
        + "àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ", marksLosses: false);

    public static SingleByteEncoding Windows1252 { get; } = new(
        "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008DŽ\u008F\u0090‘’“”•–—˜™š›œ\u009DžŸ"
        + LatinSigns
        + "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞß"
        + "àáâãäåæçèéêëìíîïðñòóôõö÷øùúûüýþÿ", marksLosses: true);

    public static SingleByteEncoding Windows1251 { get; } = new(
        "ЂЃ‚ѓ„…†‡€‰Љ‹ЊЌЋЏђ‘’“”•–—\u0098™љ›њќћџ"
        + "\u00A0ЎўЈ¤Ґ¦§Ё©Є«¬\u00AD®Ї°±Ііґµ¶·ё№є»јЅѕї"
        + "АБВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ"
        + "абвгдежзийклмнопрстуфхцчшщъыьэюя", marksLosses: true);

    public static SingleByteEncoding Windows1250 { get; } = new(
        "€\u0081‚\u0083„…†‡\u0088‰Š‹ŚŤŽŹ\u0090‘’“”•–—\u0098™š›śťžź"
        + "\u00A0ˇ˘Ł¤Ą¦§¨©Ş«¬\u00AD®Ż°±˛ł´µ¶·¸ąş»Ľ˝ľż"
        + "ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß"
        + "ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙", marksLosses: true);

    public static SingleByteEncoding Windows1253 { get; } = new(
        "€\u0081‚ƒ„…†‡\u0088‰\u008A‹\u008C\u008D\u008E\u008F\u0090‘’“”•–—\u0098™\u009A›\u009C\u009D\u009E\u009F"
        + "\u00A0΅Ά£¤¥¦§¨©ª«¬\u00AD®―°±²³΄µ¶·ΈΉΊ»Ό½ΎΏ"
        + "ΐΑΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡÒΣΤΥΦΧΨΩΪΫάέήί"
        + "ΰαβγδεζηθικλμνξοπρςστυφχψωϊϋόύώÿ", marksLosses: true);

    public static SingleByteEncoding Windows1254 { get; } = new(
        "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008D\u008E\u008F\u0090‘’“”•–—˜™š›œ\u009D\u009EŸ"
        + LatinSigns
        + "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏĞÑÒÓÔÕÖ×ØÙÚÛÜİŞß"
        + "àáâãäåæçèéêëìíîïğñòóôõö÷øùúûüışÿ", marksLosses: true);

    public static SingleByteEncoding Windows1257 { get; } = new(
        "€\u0081‚\u0083„…†‡\u0088‰\u008A‹\u008C¨ˇ¸\u0090‘’“”•–—\u0098™\u009A›\u009C¯˛\u009F"
        + "\u00A0¡¢£¤¥¦§Ø©Ŗ«¬\u00AD®Æ°±²³´µ¶·ø¹ŗ»¼½¾æ"
        + "ĄĮĀĆÄÅĘĒČÉŹĖĢĶĪĻŠŃŅÓŌÕÖ×ŲŁŚŪÜŻŽß"
        + "ąįāćäåęēčéźėģķīļšńņóōõö÷ųłśūüżž˙", marksLosses: true);

    private static SingleByteEncoding Iso88592 { get; } = new(
        C1Controls
        + "\u00A0Ą˘Ł¤ĽŚ§¨ŠŞŤŹ\u00ADŽŻ°ą˛ł´ľśˇ¸šşťź˝žż"
        + "ŔÁÂĂÄĹĆÇČÉĘËĚÍÎĎĐŃŇÓÔŐÖ×ŘŮÚŰÜÝŢß"
        + "ŕáâăäĺćçčéęëěíîďđńňóôőö÷řůúűüýţ˙", marksLosses: false);

    // Without RestoresSpaces: in MacRoman a dash and a space of plain text look like a damaged character.
    private static SingleByteEncoding MacRoman { get; } = new(
        "ÄÅÇÉÑÖÜáàâäãåçéèêëíìîïñóòôöõúùûü"
        + "†°¢£§•¶ß®©™´¨≠ÆØ∞±≤≥¥µ∂∑∏π∫ªºΩæø"
        + "¿¡¬√ƒ≈∆«»…\u00A0ÀÃÕŒœ–—“”‘’÷◊ÿŸ⁄€‹›ﬁﬂ"
        + "‡·‚„‰ÂÊÁËÈÍÎÏÌÓÔ\uF8FFÒÚÛÙıˆ˜¯˘˙˚¸˝˛ˇ", marksLosses: false, restoresSpaces: false);

    private static SingleByteEncoding Cp437 { get; } = new(
        "ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒ"
        + "áíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐"
        + "└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀"
        + "αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00A0", marksLosses: false);

    /// <summary>All encodings, the most likely first.</summary>
    public static IReadOnlyList<SingleByteEncoding> InOrderOfTrial { get; } =
    [
        Latin1, Windows1252, Windows1251, Windows1250, Windows1253, Windows1254, Windows1257, Iso88592, MacRoman, Cp437,
    ];

    /// <summary>Encodings whose letters indicate UTF-8 inside other text.</summary>
    public static IReadOnlyList<SingleByteEncoding> LikeLatin1 { get; } =
        [Latin1, Windows1252, Windows1251, Windows1250, Windows1253, Windows1254, Windows1257];

    /// <summary>The characters of bytes 80 to FF.</summary>
    public string UpperHalf { get; }

    /// <summary>Whether byte 1A stands for U+FFFD, a lost byte.</summary>
    public bool MarksLosses { get; }

    /// <summary>Whether spaces may have been no-break spaces.</summary>
    public bool RestoresSpaces { get; }

    /// <summary>Encodes a text; null if a character is not in this encoding.</summary>
    public byte[]? TryEncode(string text)
    {
        var output = new byte[text.Length];
        for (var i = 0; i < text.Length; i++)
        {
            if (!bytes.TryGetValue(text[i], out output[i]))
                return null;
        }

        return output;
    }
}
