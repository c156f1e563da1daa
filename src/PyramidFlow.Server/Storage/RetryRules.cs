namespace PyramidFlow.Server.Storage;

/// <summary>How often a job is tried.</summary>
/// <param name="Attempts">Most attempts; a job that fails the last one stays failed.</param>
/// <param name="Pause">Wait after the first; each further one is four times as long.</param>
internal sealed record RetryRules(int Attempts, TimeSpan Pause);
