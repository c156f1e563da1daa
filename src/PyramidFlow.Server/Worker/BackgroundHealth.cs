using System.Collections.Concurrent;

namespace PyramidFlow.Server.Worker;

/// <summary>What the loops in the background of one process are about: each says after every turn whether it could do its work.</summary>
internal sealed class BackgroundHealth
{
    private readonly ConcurrentDictionary<string, PartHealth> parts = [];

    /// <summary>All loops as they are now, by name.</summary>
    public IReadOnlyList<PartHealth> Parts => [.. parts.Values.OrderBy(part => part.Name, StringComparer.Ordinal)];

    /// <summary>Why this process cannot do its work just now; null when it can.</summary>
    public string? Trouble => Reasons(part => part.IsVital);

    /// <summary>What fails beside it, though the process does its work; null when nothing does.</summary>
    public string? Nuisance => Reasons(part => !part.IsVital);

    /// <summary>The last turn of a loop did its work.</summary>
    public void Works(string part) => parts[part] = new PartHealth(part, null, true);

    /// <summary>The last turn of a loop failed.</summary>
    /// <param name="part">Its name.</param>
    /// <param name="reason">Why.</param>
    /// <param name="isVital">Whether the process cannot do its work without it.</param>
    public void Fails(string part, string reason, bool isVital = true) => parts[part] = new PartHealth(part, reason, isVital);

    private string? Reasons(Func<PartHealth, bool> which) =>
        Parts.Where(part => part.Reason is not null && which(part)).Select(part => $"{part.Name}: {part.Reason}").ToList() is { Count: > 0 } reasons ? string.Join("; ", reasons) : null;
}

/// <summary>How a loop is.</summary>
/// <param name="Name">Its name.</param>
/// <param name="Reason">Why its last turn failed; null when it did its work.</param>
/// <param name="IsVital">Whether the process cannot do its work without it.</param>
internal sealed record PartHealth(string Name, string? Reason, bool IsVital);
