namespace PyramidFlow.Torch;

/// <summary>
/// Division of a vector into contiguous shares, one for each process of a group. Optimisers go through it share by share, whether they hold one
/// or all, so that both ways end in the same bits.
/// </summary>
/// <param name="Count">Number of shares.</param>
/// <param name="Held">The share that this process updates; null updates all.</param>
public readonly record struct VectorDivision(int Count, int? Held)
{
    /// <summary>One process that updates everything.</summary>
    public static VectorDivision None => new(1, null);

    /// <summary>First element and length of a share; the lengths differ by one element at most.</summary>
    /// <param name="length">Length of the vector.</param>
    /// <param name="count">Number of shares.</param>
    /// <param name="index">Number of the share, from 0.</param>
    public static (long Start, long Length) Share(long length, int count, int index)
    {
        var start = Boundary(index);
        return (start, Boundary(index + 1) - start);

        // length x index / count, also where the product is beyond 64 bits.
        long Boundary(int at) => (length / count * at) + (length % count * at / count);
    }

    /// <summary>First element and length of what this process updates.</summary>
    /// <param name="length">Length of the vector.</param>
    internal (long Start, long Length) HeldOf(long length) => Held is { } held ? Share(length, Count, held) : (0, length);

    /// <summary>The shares of what this process updates, relative to its first element.</summary>
    /// <param name="length">Length of the vector.</param>
    internal IEnumerable<(long Start, long Length)> SharesOf(long length)
    {
        if (Held is not null)
            return [(0, HeldOf(length).Length)];
        var count = Count;
        return Enumerable.Range(0, count).Select(index => Share(length, count, index));
    }
}
