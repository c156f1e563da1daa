using PyramidFlow.Generation;

namespace PyramidFlow.Cli.Models;

/// <summary>Ways to offload as users write them.</summary>
internal static class OffloadNames
{
    public static IReadOnlyList<string> All { get; } = [.. Enum.GetNames<Offload>().Select(name => name.ToLowerInvariant())];

    /// <summary>The way of a name of <see cref="All"/>; null is the default.</summary>
    public static Offload Parse(string? name) => name is null ? Offload.Auto : Enum.Parse<Offload>(name, ignoreCase: true);
}
