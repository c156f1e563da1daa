using System.Globalization;

namespace PyramidFlow.Torch;

/// <summary>Kinds of device; the values are libtorch's.</summary>
public enum DeviceType
{
    /// <summary>Host memory.</summary>
    Cpu = 0,

    /// <summary>An NVIDIA GPU.</summary>
    Cuda = 1,
}

/// <summary>Where a tensor lives.</summary>
/// <param name="Type">Kind of device.</param>
/// <param name="Index">Which one of its kind; -1 is the current one.</param>
public readonly record struct Device(DeviceType Type, int Index = -1)
{
    // libtorch keeps the number in a signed byte.
    private const int MaxIndex = sbyte.MaxValue;

    /// <summary>Host memory.</summary>
    public static Device Cpu => new(DeviceType.Cpu);

    /// <summary>Reads <c>cpu</c>, <c>cuda</c> or <c>cuda:N</c>.</summary>
    /// <exception cref="FormatException">Anything else.</exception>
    public static Device Parse(string text)
    {
        var parts = text.Split(':');
        DeviceType? type = parts[0] switch { "cpu" => DeviceType.Cpu, "cuda" => DeviceType.Cuda, _ => null };
        var index = -1;
        var numbered = parts.Length == 1
            || (parts.Length == 2 && int.TryParse(parts[1], NumberStyles.None, CultureInfo.InvariantCulture, out index));
        return type is { } known && numbered && index <= MaxIndex
            ? new Device(known, index)
            : throw new FormatException($"unknown device '{text}': use cpu, cuda or cuda:N");
    }

    /// <inheritdoc/>
    public override string ToString() =>
        Type.ToString().ToLowerInvariant() + (Index >= 0 ? ":" + Index.ToString(CultureInfo.InvariantCulture) : "");
}
