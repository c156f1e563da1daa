using System.Text;

namespace PyramidFlow.Tests.Models.Tokenizers;

/// <summary>Unicode strings of every sort, the malformed ones among them, from a seed.</summary>
internal static class RandomText
{
    private static readonly (int First, int Last)[] Blocks =
    [
        (0x20, 0x7E), (0x20, 0x7E), (0x61, 0x7A), (0x00, 0x1F), (0x80, 0x24F), (0x300, 0x36F), (0x370, 0x4FF), (0x600, 0x6FF),
        (0x900, 0x97F), (0x1100, 0x11FF), (0x1E00, 0x1FFF), (0x2000, 0x2BFF), (0x3000, 0x30FF), (0x4E00, 0x4FFF),
        (0xAC00, 0xD7A3), (0xD800, 0xDFFF), (0xE000, 0xE0FF), (0xF900, 0xFFFF), (0x1F300, 0x1FAFF), (0x10000, 0x10FFFF),
    ];

    private static readonly string[] Phrases =
        ["a cat", " ", "  ", "<pad>", "</s>", "<extra_id_7>", "<|endoftext|>", "it's", "!!!", "8K", "▁", "\r\n"];

    public static IEnumerable<string> Many(int seed, int count)
    {
        var random = new Random(seed);
        for (var i = 0; i < count; i++)
        {
            var text = new StringBuilder();
            for (var parts = random.Next(12); parts > 0; parts--)
            {
                if (random.Next(3) == 0)
                {
                    text.Append(Phrases[random.Next(Phrases.Length)]);
                    continue;
                }

                var (first, last) = Blocks[random.Next(Blocks.Length)];
                for (var length = random.Next(1, 8); length > 0; length--)
                {
                    var point = random.Next(first, last + 1);
                    if (point < 0x10000)
                        text.Append((char)point);
                    else
                        text.Append(char.ConvertFromUtf32(point));
                }
            }

            yield return text.ToString();
        }
    }
}
