using PyramidFlow.Cli.Output;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Cli.Datasets;

/// <summary>Shows where an extraction is.</summary>
internal sealed class ExtractionLine(ProgressLine line) : IProgress<ExtractionProgress>
{
    /// <inheritdoc/>
    public void Report(ExtractionProgress value) =>
        line.Update(value.Phase, $"{value.Done}/{value.Total}", value.Total > 0 ? (double)value.Done / value.Total : 1);
}
