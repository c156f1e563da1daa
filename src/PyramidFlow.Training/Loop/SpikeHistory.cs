using System.Text.Json.Serialization;

namespace PyramidFlow.Training.Loop;

/// <summary>What <see cref="SpikeGuard"/> remembers.</summary>
/// <param name="Skipped">Steps skipped so far.</param>
/// <param name="InARow">Of these, the last ones in succession.</param>
/// <param name="Values">The latest values under each name, oldest first.</param>
internal sealed record SpikeHistory(long Skipped, int InARow, SortedDictionary<string, List<double>> Values);

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(SpikeHistory))]
internal sealed partial class SpikeJson : JsonSerializerContext;
