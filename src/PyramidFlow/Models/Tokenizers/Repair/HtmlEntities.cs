using System.Buffers;
using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace PyramidFlow.Models.Tokenizers.Repair;

/// <summary>
/// Character references of HTML that end in a semicolon: the names of the standard (<c>HtmlEntities.txt</c>), names in
/// capitals where no other name is meant (<c>&amp;EACUTE;</c>), and numbers.
/// </summary>
internal static class HtmlEntities
{
    private const int LongestName = 24;

    // Names in capitals that the standard also takes without a semicolon: "&COPYSR;" is a copyright sign and "SR;".
    private static readonly string[] OpenCapitals = ["AMP", "COPY", "ETH", "GT", "LT", "QUOT", "REG", "THORN"];

    private static readonly SearchValues<char> NameCharacters =
        SearchValues.Create("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");

    private static readonly Lazy<FrozenDictionary<string, string>> Named = new(ReadNames);

    /// <summary>Puts characters in the place of references.</summary>
    public static string Unescape(string text)
    {
        var next = text.IndexOf('&', StringComparison.Ordinal);
        if (next < 0)
            return text;
        var output = new StringBuilder(text.Length);
        var at = 0;
        while (next >= 0)
        {
            output.Append(text, at, next - at);
            var length = ReferenceLength(text, next);
            if (length > 0 && Value(text.AsSpan(next + 1, length - 2)) is { } value)
                output.Append(value);
            else
                output.Append(text, next, length = Math.Max(length, 1));
            at = next + length;
            next = text.IndexOf('&', at);
        }

        return output.Append(text, at, text.Length - at).ToString();
    }

    private static int ReferenceLength(string text, int start)
    {
        var name = start + 1;
        if (name < text.Length && text[name] == '#')
            name++;
        var rest = text.AsSpan(name);
        rest = rest[..Math.Min(rest.Length, LongestName + 1)];
        var length = rest.IndexOfAnyExcept(NameCharacters);
        return length > 0 && rest[length] == ';' ? name - start + length + 1 : 0;
    }

    private static string? Value(ReadOnlySpan<char> name)
    {
        if (name[0] != '#')
            return Named.Value.GetAlternateLookup<ReadOnlySpan<char>>().TryGetValue(name, out var value) ? value : null;
        var hex = name[1] is 'x' or 'X';
        var digits = name[(hex ? 2 : 1)..];
        if (digits.IsEmpty || digits.ContainsAnyExcept(hex ? "0123456789ABCDEFabcdef" : "0123456789"))
            return null;
        digits = digits.TrimStart('0');
        var point = digits.IsEmpty ? 0 : digits.Length > 7 ? int.MaxValue
            : int.Parse(digits, hex ? NumberStyles.HexNumber : NumberStyles.None, CultureInfo.InvariantCulture);
        // A semicolon is left alone, since it looks like a reference that was read in part.
        return point == ';' ? null : Character(point);
    }

    private static string Character(int point) => point switch
    {
        '\r' => "\r",
        >= 0x80 and <= 0x9F => SingleByteEncoding.Windows1252.UpperHalf[point - 0x80].ToString(),
        0 => "\uFFFD",
        _ when !Rune.IsValid(point) => "\uFFFD",
        (>= 1 and <= 8) or 0x0B or (>= 0x0E and <= 0x1F) or 0x7F or (>= 0xFDD0 and <= 0xFDEF) => "",
        _ when (point & 0xFFFE) == 0xFFFE => "",
        _ => char.ConvertFromUtf32(point),
    };

    private static FrozenDictionary<string, string> ReadNames()
    {
        var names = new Dictionary<string, string>(StringComparer.Ordinal);
        using var stream = typeof(HtmlEntities).Assembly.GetManifestResourceStream("HtmlEntities.txt")!;
        using var lines = new StreamReader(stream);
        while (lines.ReadLine() is { } line)
        {
            if (line[0] == '#')
                continue;
            var parts = line.Split(' ');
            names[parts[0]] = string.Concat(parts.Skip(1).Select(hex =>
                char.ConvertFromUtf32(int.Parse(hex, NumberStyles.HexNumber, CultureInfo.InvariantCulture))));
        }

        foreach (var (name, value) in names.ToArray())
        {
            var capitals = name.ToUpperInvariant();
            if (name == name.ToLowerInvariant() && !OpenCapitals.Any(open => capitals.StartsWith(open, StringComparison.Ordinal)))
                names.TryAdd(capitals, Capitals(value));
        }

        return names.ToFrozenDictionary(StringComparer.Ordinal);
    }

    private static string Capitals(string value) => value switch
    {
        "ß" => "SS",
        "ŉ" => "ʼN",
        "ﬀ" => "FF",
        "ﬁ" => "FI",
        "ﬂ" => "FL",
        "ﬃ" => "FFI",
        "ﬄ" => "FFL",
        "ı" => "I",
        _ => value.ToUpperInvariant(),
    };
}
