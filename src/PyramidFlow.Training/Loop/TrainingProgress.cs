namespace PyramidFlow.Training.Loop;

/// <summary>Where a training run is.</summary>
/// <param name="Step">Steps done.</param>
/// <param name="Steps">Steps of the whole run.</param>
/// <param name="Loss">Mean loss since the last report.</param>
/// <param name="SecondsPerStep">Mean time of a step since the last report.</param>
/// <param name="Note">What else there is to say, or null.</param>
public sealed record TrainingProgress(long Step, long Steps, double Loss, double SecondsPerStep, string? Note = null)
{
    /// <summary>Time left at the present pace.</summary>
    public TimeSpan TimeLeft => TimeSpan.FromSeconds((Steps - Step) * SecondsPerStep);
}
