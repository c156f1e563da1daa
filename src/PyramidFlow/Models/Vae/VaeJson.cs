using System.Text.Json.Serialization;

namespace PyramidFlow.Models.Vae;

/// <summary>Source-generated reading of the VAE's config.</summary>
[JsonSourceGenerationOptions(WriteIndented = true, PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(CausalVideoVaeConfig))]
internal sealed partial class VaeJson : JsonSerializerContext;
