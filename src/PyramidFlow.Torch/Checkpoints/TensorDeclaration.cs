namespace PyramidFlow.Torch.Checkpoints;

/// <summary>A tensor that is to be written: everything but its numbers.</summary>
/// <param name="Key">Key in the file.</param>
/// <param name="Type">Element type.</param>
/// <param name="Shape">Sizes, outermost first; empty for a scalar.</param>
public sealed record TensorDeclaration(string Key, ElementType Type, long[] Shape)
{
    /// <summary>Bytes of its elements.</summary>
    public long ByteLength => Shapes.ByteLength(Shape, Type);
}
