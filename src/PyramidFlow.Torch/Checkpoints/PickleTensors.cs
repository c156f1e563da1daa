using System.Globalization;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Finds the tensors in nested containers and names them by their way there, with dots.</summary>
/// <param name="budget">Items and bytes that the whole file may take.</param>
/// <param name="bareKey">What to call a tensor that is not in a container; null leaves it out.</param>
internal sealed class PickleTensors(ArchiveBudget budget, string? bareKey)
{
    // A pickle can hold a list that holds itself, or lists of lists of lists that all share their items.
    private const int MaxDepth = 32;
    private const int MaxKeyLength = 1024;

    // Of a key and of what is kept beside it, but for its characters.
    private const int KeyBytes = 256;

    /// <summary>All tensors with their keys, in the order of the file.</summary>
    /// <exception cref="CheckpointException">The containers are nested too deeply or too large.</exception>
    internal IEnumerable<(string Key, PickleTensor Tensor)> Flatten(object? content) => Visit("", content, 0);

    private IEnumerable<(string Key, PickleTensor Tensor)> Visit(string key, object? value, int depth)
    {
        if (depth > MaxDepth || key.Length > MaxKeyLength)
            throw budget.TooLarge();
        switch (value)
        {
            case PickleTensor tensor when key.Length > 0:
                return [(key, tensor)];
            case PickleTensor tensor when bareKey is not null:
                return [(bareKey, tensor)];
            case PickleDictionary dictionary:
                return dictionary.Items.SelectMany(item => Item(key, item.Key, item.Value, depth));
            case IReadOnlyList<object?> list:
                return list.SelectMany((item, index) => Item(key, (long)index, item, depth));
            default:
                return [];
        }
    }

    // Every item counts as a visit, even one that holds no tensor: a container that the file refers to many times is walked each time.
    private IEnumerable<(string Key, PickleTensor Tensor)> Item(string outer, object? key, object? value, int depth)
    {
        budget.Visit();
        if (Name(key) is not { } name || value is not (PickleTensor or PickleDictionary or IReadOnlyList<object?>))
            return [];
        budget.Take(KeyBytes + (2L * (outer.Length + name.Length)));
        return Visit(Join(outer, name), value, depth + 1);
    }

    private static string? Name(object? key) => key switch
    {
        string text => text,
        long number => number.ToString(CultureInfo.InvariantCulture),
        _ => null,
    };

    private static string Join(string outer, string inner) => outer.Length == 0 ? inner : $"{outer}.{inner}";
}
