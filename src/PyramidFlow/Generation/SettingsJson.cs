using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Generation;

/// <summary>Settings of a generation as JSON, for the metadata of files.</summary>
internal sealed record SettingsJson(
    IReadOnlyList<UnitPrompt> Prompts, string NegativePrompt, int Width, int Height, int Frames, ulong Seed, int FramesPerUnit,
    IReadOnlyList<int> Steps, IReadOnlyList<int> VideoSteps, IReadOnlyList<double?> Guidance, int? HistoryWindow,
    [property: JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)] Approximations? Approximations)
{
    private static readonly SettingsJsonContext Readable = new(new JsonSerializerOptions(SettingsJsonContext.Default.Options)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    internal static string Of(GenerationSettings settings)
    {
        var plan = settings.Sampling;
        return JsonSerializer.Serialize(
            new SettingsJson(settings.Prompts, settings.NegativePrompt, settings.Width, settings.Height, settings.Frames, settings.Seed,
                plan.FramesPerUnit, plan.Steps, plan.VideoSteps, plan.Guidance, plan.Window,
                plan.Approximations == Approximations.None ? null : plan.Approximations),
            Readable.SettingsJson);
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(SettingsJson))]
internal sealed partial class SettingsJsonContext : JsonSerializerContext;
