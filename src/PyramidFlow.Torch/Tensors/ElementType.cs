namespace PyramidFlow.Torch;

/// <summary>Element type of a tensor, with the scalar type numbers of libtorch.</summary>
public enum ElementType
{
    /// <summary>Unsigned 8-bit integer.</summary>
    UInt8 = 0,

    /// <summary>Signed 8-bit integer.</summary>
    Int8 = 1,

    /// <summary>Signed 16-bit integer.</summary>
    Int16 = 2,

    /// <summary>Signed 32-bit integer.</summary>
    Int32 = 3,

    /// <summary>Signed 64-bit integer.</summary>
    Int64 = 4,

    /// <summary>IEEE half precision.</summary>
    Float16 = 5,

    /// <summary>IEEE single precision.</summary>
    Float32 = 6,

    /// <summary>IEEE double precision.</summary>
    Float64 = 7,

    /// <summary>Boolean, one byte.</summary>
    Bool = 11,

    /// <summary>bfloat16: the upper half of a float32.</summary>
    BFloat16 = 15,
}

/// <summary>Properties of element types.</summary>
public static class ElementTypes
{
    /// <summary>Size of one element in bytes.</summary>
    public static int Size(this ElementType type) => type switch
    {
        ElementType.UInt8 or ElementType.Int8 or ElementType.Bool => 1,
        ElementType.Int16 or ElementType.Float16 or ElementType.BFloat16 => 2,
        ElementType.Int32 or ElementType.Float32 => 4,
        ElementType.Int64 or ElementType.Float64 => 8,
        _ => throw new ArgumentOutOfRangeException(nameof(type), type, "unknown element type"),
    };

    /// <summary>Whether it is a floating point type.</summary>
    public static bool IsFloatingPoint(this ElementType type) =>
        type is ElementType.Float16 or ElementType.BFloat16 or ElementType.Float32 or ElementType.Float64;
}

/// <summary>Arithmetic on shapes, checked for overflow because shapes come from files.</summary>
internal static class Shapes
{
    /// <summary>Number of elements; sizes are not negative.</summary>
    /// <exception cref="OverflowException">
    /// The product of the nonzero sizes overflows, which libtorch does not allow even if another size is zero.
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

    /// <summary>Size of a row-major tensor in bytes.</summary>
    /// <exception cref="OverflowException">As <see cref="ElementCount"/>.</exception>
    internal static long ByteLength(ReadOnlySpan<long> shape, ElementType type) => checked(ElementCount(shape) * type.Size());

    /// <summary>Whether strides are row-major; strides of dimensions of size 1 do not matter.</summary>
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
