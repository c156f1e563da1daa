using PyramidFlow.Cli.Output;
using PyramidFlow.Hub;

namespace PyramidFlow.Cli.Models;

/// <summary>Progress of a checkpoint that is being written.</summary>
internal sealed class WritingLine(CliConsole console) : IProgress<WorkProgress>, IDisposable
{
    private readonly ProgressLine line = new(console);

    public void Report(WorkProgress value) => line.Update(value.Part.Length > 0 ? value.Part : "writing",
        $"{Bytes.Text(value.Bytes)} of {Bytes.Text(value.TotalBytes)}", value.TotalBytes > 0 ? (double)value.Bytes / value.TotalBytes : 1);

    public void Dispose() => line.Dispose();
}
