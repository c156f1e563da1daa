using System.Globalization;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Metrics of a run as JSON lines, one line per report.</summary>
internal sealed class MetricsFile
{
    private const string StepKey = "step";

    private readonly string path;

    /// <summary>Opens the file for a run that resumes at a step; removes lines of later steps, which a killed run left behind.</summary>
    /// <param name="path">The file; it may be missing.</param>
    /// <param name="from">Number of completed steps.</param>
    /// <exception cref="TrainingException">A line is longer than any of metrics.</exception>
    public MetricsFile(string path, long from)
    {
        this.path = path;
        if (!File.Exists(path))
            return;
        List<ReadOnlyMemory<byte>> lines;
        using (var file = File.OpenRead(path))
            lines = [.. Lines(file).Select(line => line.Utf8)];
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
    /// <param name="step">Number of completed steps.</param>
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

    /// <summary>Reads the numbers of every step, also while the run writes the file. If a step has several lines, the last value of a key counts.</summary>
    /// <param name="path">A file of JSON objects, one per line, each with a <c>step</c>.</param>
    /// <exception cref="TrainingException">The file is missing or malformed; the message names the line.</exception>
    public static IReadOnlyList<IReadOnlyDictionary<string, double>> Read(string path)
    {
        if (!File.Exists(path))
            throw TrainingFault.MetricsMissing(path);
        var steps = new SortedDictionary<double, Dictionary<string, double>>();
        foreach (var (number, line) in WholeLines(path).Where(line => line.Utf8.Length > 0))
        {
            var numbers = Numbers(line, path, number);
            if (!steps.TryAdd(numbers[StepKey], numbers))
            {
                foreach (var (key, value) in numbers)
                    steps[numbers[StepKey]][key] = value;
            }
        }

        return [.. steps.Values];
    }

    // A truncated or damaged line counts as one of a later step.
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

    // Text after the last line end is still being written.
    private static List<(int Number, ReadOnlyMemory<byte> Utf8)> WholeLines(string path)
    {
        using var file = File.OpenRead(path);
        var lines = Lines(file);
        if (file.Length > 0)
        {
            file.Position = file.Length - 1;
            if (file.ReadByte() != '\n' && lines.Count > 0)
                lines.RemoveAt(lines.Count - 1);
        }

        return lines;
    }

    private static List<(int Number, ReadOnlyMemory<byte> Utf8)> Lines(FileStream file)
    {
        try
        {
            return [.. StrictLines.Read(file)];
        }
        catch (MalformedTextException e)
        {
            throw TrainingFault.MetricsMalformed(file.Name, e.Line, e.Reason, e);
        }
    }

    private static Dictionary<string, double> Numbers(ReadOnlyMemory<byte> line, string path, int number)
    {
        try
        {
            using var json = StrictJson.Parse(line);
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw TrainingFault.MetricsMalformed(path, number);
            var numbers = json.RootElement.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.Number && double.IsFinite(p.Value.GetDouble()))
                .ToDictionary(p => p.Name, p => p.Value.GetDouble());
            return numbers.ContainsKey(StepKey) ? numbers : throw TrainingFault.MetricsWithoutStep(path, number);
        }
        catch (MalformedTextException e)
        {
            throw TrainingFault.MetricsMalformed(path, number, e.Reason, e);
        }
    }
}
