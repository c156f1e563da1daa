namespace PyramidFlow.Training.Data;

/// <summary>
/// SplitMix64 generator (Steele, Lea, Flood 2014), keyed by a seed, a stream and an index, so that any item can be drawn without
/// drawing those before it. The sequence is independent of the .NET version.
/// </summary>
internal sealed class KeyedRandom
{
    private const ulong Golden = 0x9E3779B97F4A7C15;
    private ulong state;

    /// <summary>Creates the generator of one item.</summary>
    /// <param name="seed">Seed of the run or data set.</param>
    /// <param name="stream">Purpose of the numbers; different streams are independent.</param>
    /// <param name="index">Index of the item within the stream.</param>
    public KeyedRandom(long seed, long stream = 0, long index = 0)
    {
        state = Mix((ulong)seed + Golden);
        state = Mix((ulong)stream ^ (state + Golden));
        state = Mix((ulong)index ^ (state + Golden));
    }

    /// <summary>Uniform 64-bit value.</summary>
    public ulong NextUInt64() => Mix(state += Golden);

    /// <summary>Uniform integer in [0, <paramref name="count"/>).</summary>
    /// <param name="count">Number of values, at least 1.</param>
    /// <exception cref="ArgumentOutOfRangeException">The count is less than 1.</exception>
    public int NextInt(int count)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        return (int)(((NextUInt64() >> 32) * (ulong)count) >> 32);
    }

    /// <summary>Uniform number in [0, 1) with 24 bits, exact in float32.</summary>
    public float NextSingle() => (NextUInt64() >> 40) * (1f / (1 << 24));

    /// <summary>Uniform number between two bounds.</summary>
    /// <param name="low">Lower bound.</param>
    /// <param name="high">Upper bound.</param>
    public float NextSingle(float low, float high) => low + (high - low) * NextSingle();

    private static ulong Mix(ulong z)
    {
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }
}
