namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// The names of Python's that a plain checkpoint uses, and what calling them means here. Nothing is looked up in any
/// runtime: a name that is not in this table does not exist.
/// </summary>
internal static class PickleGlobals
{
    /// <summary>Most dimensions: libtorch's own limit; also, no short call may copy a long list again and again.</summary>
    internal const int MaxRank = 64;

    private static readonly Dictionary<string, object> Known = new()
    {
        ["collections.OrderedDict"] = PickleFunction.OrderedDict,
        ["argparse.Namespace"] = PickleFunction.Attributes,
        ["torch.Size"] = PickleFunction.Size,
        ["torch._utils._rebuild_tensor_v2"] = PickleFunction.RebuildTensor,
        ["torch._utils._rebuild_tensor_v3"] = PickleFunction.RebuildTensorOfType,
        ["torch._utils._rebuild_parameter"] = PickleFunction.RebuildParameter,
        ["torch._utils._rebuild_parameter_with_state"] = PickleFunction.RebuildParameterWithState,
        ["torch.storage.UntypedStorage"] = new PickleStorageClass(null),
        ["torch.FloatStorage"] = new PickleStorageClass(ElementType.Float32),
        ["torch.DoubleStorage"] = new PickleStorageClass(ElementType.Float64),
        ["torch.HalfStorage"] = new PickleStorageClass(ElementType.Float16),
        ["torch.BFloat16Storage"] = new PickleStorageClass(ElementType.BFloat16),
        ["torch.LongStorage"] = new PickleStorageClass(ElementType.Int64),
        ["torch.IntStorage"] = new PickleStorageClass(ElementType.Int32),
        ["torch.ShortStorage"] = new PickleStorageClass(ElementType.Int16),
        ["torch.CharStorage"] = new PickleStorageClass(ElementType.Int8),
        ["torch.ByteStorage"] = new PickleStorageClass(ElementType.UInt8),
        ["torch.BoolStorage"] = new PickleStorageClass(ElementType.Bool),
        ["torch.float32"] = ElementType.Float32,
        ["torch.float64"] = ElementType.Float64,
        ["torch.float16"] = ElementType.Float16,
        ["torch.bfloat16"] = ElementType.BFloat16,
        ["torch.int64"] = ElementType.Int64,
        ["torch.int32"] = ElementType.Int32,
        ["torch.int16"] = ElementType.Int16,
        ["torch.int8"] = ElementType.Int8,
        ["torch.uint8"] = ElementType.UInt8,
        ["torch.bool"] = ElementType.Bool,
    };

    /// <summary>What a name stands for, or null when checkpoints do not need it.</summary>
    internal static object? Find(string module, string name) => Known.GetValueOrDefault($"{module}.{name}");

    /// <summary>The value of a call, or null when these are not its arguments.</summary>
    internal static object? Call(object? function, object?[] arguments) => (function, arguments) switch
    {
        (PickleFunction.OrderedDict, []) => new PickleDictionary(),
        (PickleFunction.Size, [object?[] sizes]) => sizes,
        (PickleFunction.RebuildTensor, [PickleStorage { Type: { } type } storage, long offset, object?[] shape, object?[] strides, ..]) =>
            Rebuild(storage, type, offset, shape, strides),
        (PickleFunction.RebuildTensorOfType,
            [PickleStorage storage, long offset, object?[] shape, object?[] strides, _, _, ElementType type, ..]) =>
            Rebuild(storage, type, offset, shape, strides),
        (PickleFunction.RebuildParameter or PickleFunction.RebuildParameterWithState, [PickleTensor tensor, ..]) => tensor,
        _ => null,
    };

    private static PickleTensor? Rebuild(PickleStorage storage, ElementType type, long offset, object?[] shape, object?[] strides) =>
        shape.Length <= MaxRank && shape.Length == strides.Length && shape.All(size => size is long) && strides.All(step => step is long)
            ? new PickleTensor(storage, type, offset, [.. shape.Cast<long>()], [.. strides.Cast<long>()])
            : null;
}
