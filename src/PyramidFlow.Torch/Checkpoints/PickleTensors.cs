using System.Globalization;

namespace PyramidFlow.Torch.Checkpoints;

/// <summary>Finds the tensors in nested containers and names them by their way there, with dots.</summary>
/// <param name="path">What to call the file in an error.</param>
/// <param name="bareKey">What to call a tensor that is not in a container; null leaves it out.</param>
internal sealed class PickleTensors(string path, string? bareKey)
{
    // A pickle can hold a list that holds itself, or lists of lists of lists that all share their items.
    private const int MaxDepth = 32;
    private const int MaxItems = 1 << 18;
    private const int MaxKeyLength = 1024;

    private int items;

    /// <summary>All tensors with their keys, in the order of the file.</summary>
    /// <exception cref="CheckpointException">The containers are nested too deeply or too large.</exception>
    internal IEnumerable<(string Key, PickleTensor Tensor)> Flatten(object? content) => Visit("", content, 0);

    private IEnumerable<(string Key, PickleTensor Tensor)> Visit(string key, object? value, int depth)
    {
        if (depth > MaxDepth || ++items > MaxItems || key.Length > MaxKeyLength)
        {
            throw new CheckpointException(
                $"{path} is not a readable PyTorch checkpoint: its containers are nested too deeply, too large or contain themselves; "
                + "save only model.state_dict()");
        }

        switch (value)
        {
            case PickleTensor tensor when key.Length > 0:
                return [(key, tensor)];
            case PickleTensor tensor when bareKey is not null:
                return [(bareKey, tensor)];
            case PickleDictionary dictionary:
                return dictionary.Items.SelectMany(item => Name(item.Key) is { } name ? Visit(Join(key, name), item.Value, depth + 1) : []);
            case IReadOnlyList<object?> list:
                return list.SelectMany((item, index) => Visit(Join(key, Name((long)index)!), item, depth + 1));
            default:
                return [];
        }
    }

    private static string? Name(object? key) => key switch
    {
        string text => text,
        long number => number.ToString(CultureInfo.InvariantCulture),
        _ => null,
    };

    private static string Join(string outer, string inner) => outer.Length == 0 ? inner : $"{outer}.{inner}";
}
