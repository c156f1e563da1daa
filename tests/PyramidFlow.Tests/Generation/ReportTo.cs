using PyramidFlow.Generation;

namespace PyramidFlow.Tests.Generation;

/// <summary>Hands reports to a delegate at once, on the thread that they come from.</summary>
internal sealed class ReportTo(Action<GenerationProgress> report) : IProgress<GenerationProgress>
{
    public void Report(GenerationProgress value) => report(value);
}
