using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// Keeps single bad batches away from the weights: a step is skipped whose loss or gradient norm is far above its running
/// median. What lasts for more than a few steps is no spike but how things are now, and is let through.
/// </summary>
/// <param name="factor">How many times the median is too much; 0 lets everything through.</param>
public sealed class SpikeGuard(double factor)
{
    private const int Window = 100, Least = 20, MostInARow = 5;

    private SpikeHistory history = new(0, 0, []);

    /// <summary>Steps skipped so far.</summary>
    public long Skipped => history.Skipped;

    /// <summary>Judges a step and remembers its values. A value of 0, as of a part that does not train yet, is left out.</summary>
    /// <param name="values">Loss and gradient norms, finite and at least 0.</param>
    /// <returns>Why to skip the step, or null.</returns>
    public string? Judge(params ReadOnlySpan<(string Name, double Value)> values)
    {
        string? fault = null;
        foreach (var (name, value) in values)
        {
            if (value <= 0)
                continue;
            if (!history.Values.TryGetValue(name, out var past))
                history.Values[name] = past = [];
            if (factor > 0 && past.Count >= Least && value > factor * Median(past))
                fault ??= FormattableString.Invariant($"{name} {value:G4} is {value / Median(past):F0} times its median");
            past.Add(value);
            if (past.Count > Window)
                past.RemoveAt(0);
        }

        if (fault is not null && history.InARow >= MostInARow)
            fault = null;
        history = fault is null
            ? history with { InARow = 0 }
            : history with { InARow = history.InARow + 1, Skipped = history.Skipped + 1 };
        return fault;
    }

    /// <summary>What it remembers, for checkpoints.</summary>
    internal string Save() => JsonSerializer.Serialize(history, SpikeJson.Default.SpikeHistory);

    /// <summary>Takes up what <see cref="Save"/> gave.</summary>
    /// <exception cref="MalformedTextException">It is no such text; nothing was changed.</exception>
    internal void Load(string saved) => history = Parse(saved);

    /// <summary>Reads what <see cref="Save"/> gave.</summary>
    /// <exception cref="MalformedTextException">It is no such text.</exception>
    internal static SpikeHistory Parse(string saved)
    {
        var read = StrictJson.Deserialize(saved, SpikeJson.Default.SpikeHistory);
        if (read.Values is null)
            throw new MalformedTextException(0, "values is missing", "values");
        if (read.Skipped < 0 || read.InARow < 0 || read.Values.Values.Any(values => values.Any(value => !(value > 0) || !double.IsFinite(value))))
            throw new MalformedTextException(0, "a number in it is impossible");
        return read;
    }

    /// <summary>Takes up what <see cref="Parse"/> gave.</summary>
    internal void Load(SpikeHistory saved) => history = saved;

    private static double Median(List<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>What <see cref="SpikeGuard"/> remembers.</summary>
/// <param name="Skipped">Steps skipped so far.</param>
/// <param name="InARow">Of these, the last ones in succession.</param>
/// <param name="Values">The latest values under each name, oldest first.</param>
internal sealed record SpikeHistory(long Skipped, int InARow, SortedDictionary<string, List<double>> Values);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(SpikeHistory))]
internal sealed partial class SpikeJson : JsonSerializerContext;
