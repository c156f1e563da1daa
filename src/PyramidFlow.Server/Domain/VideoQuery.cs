namespace PyramidFlow.Server.Domain;

/// <summary>Which videos to list.</summary>
/// <param name="Limit">How many at most, 1 to 100.</param>
/// <param name="After">The id that the list goes on after; null begins it.</param>
/// <param name="OldestFirst">Whether the oldest come first and not the newest.</param>
public sealed record VideoQuery(int Limit = 20, string? After = null, bool OldestFirst = false);

/// <summary>Some videos.</summary>
/// <param name="Jobs">In the order asked for.</param>
/// <param name="HasMore">Whether more come after the last.</param>
public sealed record VideoList(IReadOnlyList<VideoJob> Jobs, bool HasMore);
