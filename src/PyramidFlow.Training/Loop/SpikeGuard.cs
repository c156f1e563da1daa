using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// Protects the weights from single bad batches: skips a step whose loss or gradient norm is far above the running median.
/// A change that lasts more than a few steps is not a spike, and is let through.
/// </summary>
/// <param name="factor">Threshold as a multiple of the median; 0 never skips.</param>
internal sealed class SpikeGuard(double factor)
{
    private const int Window = 100, Least = 20, MostInARow = 5;

    private SpikeHistory history = new(0, 0, []);

    /// <summary>Number of skipped steps.</summary>
    public long Skipped => history.Skipped;

    /// <summary>Checks a step and records its values. Values of 0, such as those of a part that does not train yet, are ignored.</summary>
    /// <param name="values">Loss and gradient norms, finite and not negative.</param>
    /// <returns>Why the step must be skipped; null if it may be applied.</returns>
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

    /// <summary>Serializes the history for checkpoints.</summary>
    internal string Save() => JsonSerializer.Serialize(history, SpikeJson.Default.SpikeHistory);

    /// <summary>Restores a history from <see cref="Save"/>.</summary>
    /// <exception cref="MalformedTextException">The text is malformed; the history is unchanged.</exception>
    internal void Load(string saved) => history = Parse(saved);

    /// <summary>Parses a history from <see cref="Save"/>.</summary>
    /// <exception cref="MalformedTextException">The text is malformed.</exception>
    internal static SpikeHistory Parse(string saved)
    {
        var read = StrictJson.Deserialize(saved, SpikeJson.Default.SpikeHistory);
        if (read.Values is null)
            throw new MalformedTextException(0, "values is missing", "values");
        if (read.Skipped < 0 || read.InARow < 0 || read.Values.Values.Any(values => values.Any(value => !(value > 0) || !double.IsFinite(value))))
            throw new MalformedTextException(0, "a number in it is impossible");
        return read;
    }

    /// <summary>Restores a history from <see cref="Parse"/>.</summary>
    internal void Load(SpikeHistory saved) => history = saved;

    private static double Median(List<double> values)
    {
        var sorted = values.Order().ToArray();
        return (sorted[(sorted.Length - 1) / 2] + sorted[sorted.Length / 2]) / 2;
    }
}

/// <summary>History of a <see cref="SpikeGuard"/>.</summary>
/// <param name="Skipped">Number of skipped steps.</param>
/// <param name="InARow">Number of steps skipped in a row just before.</param>
/// <param name="Values">Latest values by name, oldest first.</param>
internal sealed record SpikeHistory(long Skipped, int InARow, SortedDictionary<string, List<double>> Values);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(SpikeHistory))]
internal sealed partial class SpikeJson : JsonSerializerContext;
