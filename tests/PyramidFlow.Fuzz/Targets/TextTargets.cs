using System.Text;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Text, JSON and numbers.</summary>
internal static class TextTargets
{
    public static IEnumerable<FuzzTarget> All() =>
    [
        new("text", Text, [typeof(MalformedTextException)], FuzzTargets.Utf8("a red ball\nun café noir 😀", "\uFEFFa"), [[0xE9], [0xED, 0xA0, 0x80], [0xF0, 0x9F], [0], [0xEF, 0xBB, 0xBF]]),
        new("json", Json, [typeof(MalformedTextException)],
            FuzzTargets.Utf8("""{"a":[1,-2.5,7.0,NaN,true,null,"\ud83d\ude00 x"],"b":{"c":Infinity}} // end""", """[{"x":1,},/* 7.0 */]"""), FuzzTargets.Utf8("NaN", "-Infinity", "\\ud800", "7.0", "//", "/*")),
        new("numbers", Numbers, [], FuzzTargets.Utf8("7.5", "-1e-4", "7,5", "18446744073709551615", " 12.000 "), FuzzTargets.Utf8(",", ".", "e", "-", "0")),
    ];

    private static void Text(byte[] input)
    {
        if (StrictText.Decode(input).Contains('\uFFFD') && !Encoding.UTF8.GetString(input).Contains('\uFFFD'))
            throw new WrongResultException("a character was replaced");
    }

    private static void Json(byte[] input)
    {
        using var json = StrictJson.Parse(input, new StrictJsonOptions(Written: true, RepeatedKeys: input.Length % 2 == 0));
        Walk(json.RootElement);
    }

    // Every string can be read.
    private static void Walk(JsonElement json)
    {
        switch (json.ValueKind)
        {
            case JsonValueKind.Object:
                foreach (var member in json.EnumerateObject())
                {
                    _ = member.Name;
                    Walk(member.Value);
                }

                break;
            case JsonValueKind.Array:
                foreach (var item in json.EnumerateArray())
                    Walk(item);
                break;
            case JsonValueKind.String:
                if (!StrictText.IsWhole(json.GetString()))
                    throw new WrongResultException("a text holds half of a character");
                break;
        }
    }

    private static void Numbers(byte[] input)
    {
        var text = Encoding.Latin1.GetString(input);
        if (PlainNumber.TryReal(text, out var real) && (text.Contains(',') || !double.IsFinite(real)))
            throw new WrongResultException($"{text} was read as {real}");
        if (PlainNumber.TryWhole(text, out _) && !PlainNumber.TryReal(text, out _))
            throw new WrongResultException($"{text} is whole but no number");
        PlainNumber.TryUnsigned(text, out _);
        PlainNumber.Advice(text);
    }
}
