namespace PyramidFlow.Torch.Checkpoints;

/// <summary>What element types are called in safetensors files.</summary>
internal static class SafetensorsTypes
{
    private static readonly (ElementType Type, string Name)[] All =
    [
        (ElementType.Float64, "F64"), (ElementType.Float32, "F32"), (ElementType.Float16, "F16"), (ElementType.BFloat16, "BF16"),
        (ElementType.Int64, "I64"), (ElementType.Int32, "I32"), (ElementType.Int16, "I16"), (ElementType.Int8, "I8"),
        (ElementType.UInt8, "U8"), (ElementType.Bool, "BOOL"),
    ];

    /// <summary>The type of a name; null for one that is not known here.</summary>
    internal static ElementType? Parse(string? name) => Array.FindIndex(All, known => known.Name == name) is var at and >= 0 ? All[at].Type : null;

    /// <summary>The name of a type.</summary>
    internal static string Name(ElementType type) => Array.Find(All, known => known.Type == type).Name
        ?? throw new ArgumentOutOfRangeException(nameof(type), type, "safetensors has no such element type");
}
