using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Models;

/// <summary>Readers of the transformers' configurations.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, RespectRequiredConstructorParameters = true)]
[JsonSerializable(typeof(PyramidFluxConfig))]
[JsonSerializable(typeof(PyramidMmditConfig))]
[JsonSerializable(typeof(JsonElement))]
internal sealed partial class TransformerJson : JsonSerializerContext;
