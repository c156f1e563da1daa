namespace PyramidFlow.Server.Storage;

/// <summary>A job that waits or runs, in the order of the queue.</summary>
/// <param name="Id">Which.</param>
/// <param name="Runs">Whether a worker has it.</param>
/// <param name="Work">Pixels times steps of it, to guess how long it takes.</param>
/// <param name="SecondsLeft">Of a running one, as its worker says.</param>
internal sealed record QueueEntry(string Id, bool Runs, double Work, double? SecondsLeft);
