using PyramidFlow.Cli.Output;
using PyramidFlow.Hub;

namespace PyramidFlow.Cli.Models;

/// <summary>Progress of a checkpoint that is being written.</summary>
internal sealed class WritingLine(CliConsole console) : IProgress<WorkProgress>, IDisposable
{
    private const double WorthSaying = 0.01;

    private readonly ProgressLine line = new(console);

    public void Report(WorkProgress value)
    {
        var fraction = value.TotalBytes > 0 ? (double)value.Bytes / value.TotalBytes : 1;
        var total = Bytes.Text(value.TotalBytes);
        // The first tensor is often a bias of some bytes.
        line.Update(value.Part.Length > 0 ? value.Part : "writing", fraction < WorthSaying ? total : $"{Bytes.Text(value.Bytes)} of {total}", fraction);
    }

    public void Dispose() => line.Dispose();
}
