using PyramidFlow.Training.Data;

namespace PyramidFlow.Sprites.Tests;

/// <summary>
/// What a mediocre autoencoder does to a clip: a 3x3 box blur and Gaussian noise of 8 levels (30 dB by itself).
/// </summary>
internal static class Degradation
{
    private static readonly sbyte[] Noise = GaussianTable();

    public static byte[] BlurAndNoise(byte[] clip, int seed)
    {
        const int Row = SpriteWorld.Width * 3;
        var random = new KeyedRandom(seed);
        var result = new byte[clip.Length];
        var sums = new int[Row];
        for (var start = 0; start < clip.Length; start += SpriteWorld.FrameBytes)
        {
            var frame = clip.AsSpan(start, SpriteWorld.FrameBytes);
            for (var y = 0; y < SpriteWorld.Height; y++)
            {
                var above = frame.Slice(Math.Max(0, y - 1) * Row, Row);
                var here = frame.Slice(y * Row, Row);
                var below = frame.Slice(Math.Min(SpriteWorld.Height - 1, y + 1) * Row, Row);
                for (var i = 0; i < Row; i++)
                    sums[i] = above[i] + here[i] + below[i];

                var noise = Noise.AsSpan(random.NextInt(Noise.Length - Row), Row);
                var target = result.AsSpan(start + y * Row, Row);
                for (var i = 0; i < Row; i++)
                {
                    var left = sums[i < 3 ? i : i - 3];
                    var right = sums[i < Row - 3 ? i + 3 : i];
                    target[i] = (byte)Math.Clamp((left + sums[i] + right + 4) / 9 + noise[i], 0, 255);
                }
            }
        }

        return result;
    }

    private static sbyte[] GaussianTable()
    {
        var random = new KeyedRandom(42);
        var table = new sbyte[1 << 16];
        for (var i = 0; i < table.Length; i++)
        {
            var length = Math.Sqrt(-2 * Math.Log(1 - random.NextSingle()));
            table[i] = (sbyte)Math.Round(8 * length * Math.Cos(2 * Math.PI * random.NextSingle()));
        }

        return table;
    }
}
