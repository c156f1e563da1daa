using System.Globalization;
using System.Text.Json;

namespace PyramidFlow.Training.Runs;

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
        var lines = File.ReadAllLines(path);
        var kept = lines.Where(line => StepOf(line) <= from).ToList();
        if (kept.Count == lines.Length)
            return;
        var partial = $"{path}.partial-{Environment.ProcessId}";
        File.WriteAllLines(partial, kept);
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

    // A line cut short by a kill counts as one of a later step.
    private static long StepOf(string line)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            return json.RootElement.GetProperty(StepKey).GetInt64();
        }
        catch (JsonException)
        {
            return long.MaxValue;
        }
    }
}
