using System.Globalization;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Metrics as JSON lines, one a step that is reported.</summary>
public sealed class MetricsFile
{
    private const string StepKey = "step";

    private readonly string path;

    /// <summary>Opens the file for a run that goes on from a step: lines of steps after it, which a killed run left, are dropped.</summary>
    /// <param name="path">The file; it need not exist.</param>
    /// <param name="from">Steps done.</param>
    public MetricsFile(string path, long from)
    {
        this.path = path;
        if (!File.Exists(path))
            return;
        List<ReadOnlyMemory<byte>> lines;
        using (var file = File.OpenRead(path))
            lines = [.. StrictLines.Read(file).Select(line => line.Utf8)];
        var kept = lines.Where(line => StepOf(line) <= from).ToList();
        if (kept.Count == lines.Count)
            return;
        var partial = $"{path}.partial-{Environment.ProcessId}";
        using (var file = File.Create(partial))
        {
            foreach (var line in kept)
            {
                file.Write(line.Span);
                file.WriteByte((byte)'\n');
            }
        }

        File.Move(partial, path, overwrite: true);
    }

    /// <summary>Appends a line; a value that is not finite is written as null.</summary>
    /// <param name="step">Steps done.</param>
    /// <param name="values">Named values.</param>
    public void Add(long step, IEnumerable<(string Name, double Value)> values)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteNumber(StepKey, step);
            json.WriteString("time", DateTimeOffset.UtcNow.ToString("O", CultureInfo.InvariantCulture));
            foreach (var (name, value) in values)
            {
                if (double.IsFinite(value))
                    json.WriteNumber(name, value);
                else
                    json.WriteNull(name);
            }

            json.WriteEndObject();
        }

        buffer.WriteByte((byte)'\n');
        using var stream = new FileStream(path, FileMode.Append, FileAccess.Write);
        buffer.WriteTo(stream);
    }

    // A line cut short by a kill, or damaged, counts as one of a later step.
    private static long StepOf(ReadOnlyMemory<byte> line)
    {
        try
        {
            using var json = StrictJson.Parse(line, new StrictJsonOptions(RepeatedKeys: true));
            return json.RootElement.ValueKind == JsonValueKind.Object && json.RootElement.TryGetProperty(StepKey, out var step)
                && step.ValueKind == JsonValueKind.Number && step.TryGetInt64(out var number) ? number : long.MaxValue;
        }
        catch (MalformedTextException)
        {
            return long.MaxValue;
        }
    }
}
