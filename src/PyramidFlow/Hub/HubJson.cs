using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Hub;

/// <summary>Source-generated reading of the hub's own files.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull,
    WriteIndented = true)]
[JsonSerializable(typeof(PipelineJson))]
[JsonSerializable(typeof(Dictionary<string, JsonElement>))]
internal sealed partial class HubJson : JsonSerializerContext;
