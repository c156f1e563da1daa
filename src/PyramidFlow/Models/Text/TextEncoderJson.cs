using System.Text.Json.Serialization;

namespace PyramidFlow.Models.Text;

/// <summary>Source-generated reading of the text encoders' configs.</summary>
[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(T5EncoderConfig))]
[JsonSerializable(typeof(ClipTextConfig))]
[JsonSerializable(typeof(string[]))]
internal sealed partial class TextEncoderJson : JsonSerializerContext;
