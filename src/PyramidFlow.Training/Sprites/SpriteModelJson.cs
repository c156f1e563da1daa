using System.Text.Json.Serialization;
using PyramidFlow.Models.Text;

namespace PyramidFlow.Training.Sprites;

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, WriteIndented = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(ClipTextConfig))]
[JsonSerializable(typeof(T5EncoderConfig))]
internal sealed partial class SpriteModelJson : JsonSerializerContext;
