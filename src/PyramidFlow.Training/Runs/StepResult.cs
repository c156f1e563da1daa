namespace PyramidFlow.Training.Runs;

/// <summary>What became of a step.</summary>
/// <param name="Losses">Of all its batches.</param>
/// <param name="Norms">Gradient norm of each part before clipping.</param>
/// <param name="Skipped">Why the weights were left as they are, or null.</param>
internal sealed record StepResult(BatchLosses Losses, IReadOnlyList<double> Norms, string? Skipped);
