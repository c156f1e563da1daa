namespace PyramidFlow.Torch;

/// <summary>State-dict key of a field whose checkpoint name is not its own in snake case.</summary>
[AttributeUsage(AttributeTargets.Field)]
public sealed class KeyAttribute(string key) : Attribute
{
    /// <summary>The key, relative to the module; may hold dots.</summary>
    public string Key { get; } = key;
}
