using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Hub;

namespace PyramidFlow.Cli.Generating;

/// <summary>How a file was made, kept in it as JSON under <c>comment</c>.</summary>
internal sealed record GenerationNotes(
    string Program, string Prompt, string? NegativePrompt, string? PromptSuffix, ulong Seed, string Model, string Variant,
    int? Width, int? Height, int? Frames, double Fps, IReadOnlyList<int>? Steps, IReadOnlyList<int>? VideoSteps,
    double? Guidance, double? VideoGuidance, string? Image, string? Dtype, string? Device)
{
    private static readonly GenerationNotesJson Readable = new(new JsonSerializerOptions(GenerationNotesJson.Default.Options)
    {
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    });

    /// <summary>The notes of a plan, as metadata of a file.</summary>
    public static IReadOnlyDictionary<string, string> Metadata(GenerationPlan plan, GenerateArguments arguments, CheckpointFolder folder)
    {
        var request = plan.Request;
        var notes = new GenerationNotes($"{CommandLine.Name} {ShowVersion.Version}", request.Prompt, request.NegativePrompt,
            request.PromptSuffix, request.Seed, Path.GetFileName(folder.Root), arguments.Model.Variant ?? folder.Variants[0],
            request.Width, request.Height, request.Frames, plan.FramesPerSecond, request.Steps, request.VideoSteps,
            request.Guidance, request.VideoGuidance, Path.GetFileName(arguments.Image), arguments.Model.Type, arguments.Model.Device);
        return new Dictionary<string, string> { ["comment"] = JsonSerializer.Serialize(notes, Readable.GenerationNotes) };
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower, DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(GenerationNotes))]
internal sealed partial class GenerationNotesJson : JsonSerializerContext;
