namespace PyramidFlow.Cli.Diagnostics;

/// <summary>One thing that was looked at.</summary>
/// <param name="Name">What it is.</param>
/// <param name="State">Whether it is there.</param>
/// <param name="Value">What was found.</param>
/// <param name="Fix">The command that mends it, or null.</param>
internal sealed record Finding(string Name, FindingState State, string Value, string? Fix = null);

/// <summary>Whether something is there.</summary>
internal enum FindingState
{
    /// <summary>It is.</summary>
    Ok,

    /// <summary>It is not, but one can do without.</summary>
    Optional,

    /// <summary>It is not, and nothing works without.</summary>
    Missing,
}
