namespace PyramidFlow.Torch.Checkpoints;

// What a pickle of tensors is made of, beside null, bool, long, double, string, List<object?> and object?[] (a tuple).

/// <summary>A dictionary, in the order of the file; keys may repeat.</summary>
internal sealed class PickleDictionary
{
    internal List<(object? Key, object? Value)> Items { get; } = [];
}

/// <summary>Something a plain checkpoint may hold but nobody here needs: bytes, a set, a number beyond 64 bits.</summary>
internal sealed class PickleIgnored
{
    internal static readonly PickleIgnored Instance = new();
}

/// <summary>A name of Python's that tensors need; the only things a pickle may call.</summary>
internal enum PickleFunction
{
    OrderedDict,

    /// <summary>An object that is nothing but attributes, which are left out.</summary>
    Attributes,
    Size,
    RebuildTensor,
    RebuildTensorOfType,
    RebuildParameter,
    RebuildParameterWithState,
}

/// <summary>A class of storage; a null type is bytes of any type.</summary>
internal sealed record PickleStorageClass(ElementType? Type);

/// <summary>A storage named by its entry in the archive.</summary>
internal sealed record PickleStorage(ElementType? Type, string Entry, long Count);

/// <summary>A tensor over a storage; <paramref name="Offset"/> and strides in elements.</summary>
internal sealed record PickleTensor(PickleStorage Storage, ElementType Type, long Offset, long[] Shape, long[] Strides);
