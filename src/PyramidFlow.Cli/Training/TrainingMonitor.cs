using PyramidFlow.Cli.Output;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Cli.Training;

/// <summary>Shows where a training is.</summary>
internal sealed class TrainingMonitor(ProgressLine line) : IProgress<TrainingProgress>
{
    /// <inheritdoc/>
    public void Report(TrainingProgress value)
    {
        var fraction = value.Steps > 0 ? (double)value.Step / value.Steps : 0;
        if (value.SecondsPerStep > 0)
        {
            line.Update("training", FormattableString.Invariant(
                $"step {value.Step}/{value.Steps}, loss {value.Loss:F4}{Note(value)}, {value.SecondsPerStep:F2} s a step"), fraction, value.TimeLeft);
        }
        else
        {
            line.Update(value.Note ?? "preparing", $"{value.Step}/{value.Steps}", fraction);
        }
    }

    private static string Note(TrainingProgress value) => value.Note is { } note ? $" ({note})" : "";
}
