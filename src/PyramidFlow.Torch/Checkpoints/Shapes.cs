namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Arithmetic on shapes that come from files, checked for overflow.</summary>
internal static class Shapes
{
    /// <summary>Number of elements of sizes that are not negative.</summary>
    /// <exception cref="OverflowException">
    /// The product of the sizes does not fit, not even without those that are zero: libtorch multiplies them too.
    /// </exception>
    internal static long ElementCount(ReadOnlySpan<long> shape)
    {
        long product = 1;
        var empty = false;
        foreach (var size in shape)
        {
            empty |= size == 0;
            product = checked(product * Math.Max(size, 1));
        }

        return empty ? 0 : product;
    }

    /// <summary>Bytes of a row-major tensor.</summary>
    /// <exception cref="OverflowException">As <see cref="ElementCount"/>.</exception>
    internal static long ByteLength(ReadOnlySpan<long> shape, ElementType type) => checked(ElementCount(shape) * type.Size());

    /// <summary>Whether strides are those of a row-major tensor; those of dimensions of size 1 do not matter.</summary>
    internal static bool IsRowMajor(ReadOnlySpan<long> shape, ReadOnlySpan<long> strides)
    {
        long expected = 1;
        for (var i = shape.Length - 1; i >= 0; i--)
        {
            if (shape[i] != 1 && strides[i] != expected)
                return false;
            expected *= shape[i];
        }

        return true;
    }
}
