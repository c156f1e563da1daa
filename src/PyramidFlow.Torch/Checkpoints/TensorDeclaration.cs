namespace PyramidFlow.Torch.Checkpoints;

/// <summary>A tensor of a file, everything but its numbers.</summary>
/// <param name="Key">Key in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
public sealed record TensorDeclaration(string Key, ElementType Type, long[] Shape)
{
    /// <summary>Number of its elements.</summary>
    public long ElementCount => Shapes.ElementCount(Shape);

    /// <summary>Bytes of its elements.</summary>
    public long ByteLength => Shapes.ByteLength(Shape, Type);
}
