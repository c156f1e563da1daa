using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull, UseStringEnumConverter = true)]
[JsonSerializable(typeof(VideoRequest))]
[JsonSerializable(typeof(VideoProgress))]
[JsonSerializable(typeof(VideoError))]
[JsonSerializable(typeof(VideoResult))]
internal sealed partial class StoreJson : JsonSerializerContext;
