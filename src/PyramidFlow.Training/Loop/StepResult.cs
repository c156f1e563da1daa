namespace PyramidFlow.Training.Loop;

/// <summary>What became of a step.</summary>
/// <param name="Losses">Of all its batches.</param>
/// <param name="Norms">Gradient norm of each part before clipping.</param>
/// <param name="Skipped">Why the weights were left as they are, or null.</param>
/// <param name="IsLast">Whether a process was told to stop: all stop after the same step.</param>
internal sealed record StepResult(BatchLosses Losses, IReadOnlyList<double> Norms, string? Skipped, bool IsLast);
