using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Reads metrics that a run wrote as JSON lines, also while it goes on.</summary>
public static class MetricLines
{
    private const string Step = "step";

    /// <summary>The numbers of every step. What a later line of the file says of a step, which a resumed run did again, counts.</summary>
    /// <param name="path">A file of JSON objects, one a line; each has a <c>step</c>.</param>
    /// <exception cref="ArgumentException">The file is missing or not such a file; the message says where.</exception>
    public static IReadOnlyList<IReadOnlyDictionary<string, double>> Read(string path)
    {
        if (!File.Exists(path))
            throw new ArgumentException($"{path} does not exist: name a file of metrics, such as metrics.jsonl of a run");
        var steps = new SortedDictionary<double, Dictionary<string, double>>();
        foreach (var (number, line) in WholeLines(path).Where(line => line.Utf8.Length > 0))
        {
            var numbers = Numbers(line, path, number);
            if (!steps.TryAdd(numbers[Step], numbers))
            {
                foreach (var (key, value) in numbers)
                    steps[numbers[Step]][key] = value;
            }
        }

        return [.. steps.Values];
    }

    // What is after the last line's end is being written.
    private static List<(int Number, ReadOnlyMemory<byte> Utf8)> WholeLines(string path)
    {
        using var file = File.OpenRead(path);
        var lines = StrictLines.Read(file).ToList();
        if (file.Length > 0)
        {
            file.Position = file.Length - 1;
            if (file.ReadByte() != '\n' && lines.Count > 0)
                lines.RemoveAt(lines.Count - 1);
        }

        return lines;
    }

    private static Dictionary<string, double> Numbers(ReadOnlyMemory<byte> line, string path, int number)
    {
        try
        {
            using var json = StrictJson.Parse(line);
            if (json.RootElement.ValueKind != JsonValueKind.Object)
                throw new ArgumentException($"{path}, line {number} is no JSON object: it is no file of metrics");
            var numbers = json.RootElement.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.Number && double.IsFinite(p.Value.GetDouble()))
                .ToDictionary(p => p.Name, p => p.Value.GetDouble());
            return numbers.ContainsKey(Step) ? numbers : throw new ArgumentException($"{path}, line {number} has no step: it is no file of metrics");
        }
        catch (MalformedTextException e)
        {
            throw new ArgumentException($"{path}, line {number} is no JSON object: it is no file of metrics ({e.Reason})", e);
        }
    }
}
