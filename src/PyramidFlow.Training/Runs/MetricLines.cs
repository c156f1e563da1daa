using System.Text.Json;

namespace PyramidFlow.Training.Runs;

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
        var text = File.ReadAllText(path);
        // What is after the last line's end is being written.
        var lines = text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries);
        var steps = new SortedDictionary<double, Dictionary<string, double>>();
        for (var i = 0; i < lines.Length; i++)
        {
            var numbers = Numbers(lines[i], path, i + 1);
            if (!steps.TryAdd(numbers[Step], numbers))
            {
                foreach (var (key, value) in numbers)
                    steps[numbers[Step]][key] = value;
            }
        }

        return [.. steps.Values];
    }

    private static Dictionary<string, double> Numbers(string line, string path, int number)
    {
        try
        {
            using var json = JsonDocument.Parse(line);
            var numbers = json.RootElement.EnumerateObject().Where(p => p.Value.ValueKind == JsonValueKind.Number)
                .ToDictionary(p => p.Name, p => p.Value.GetDouble());
            return numbers.ContainsKey(Step) ? numbers : throw new ArgumentException($"{path}, line {number} has no step: it is no file of metrics");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new ArgumentException($"{path}, line {number} is no JSON object: it is no file of metrics", e);
        }
    }
}
