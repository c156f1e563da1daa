using System.ComponentModel;
using System.Globalization;
using System.Text.Json.Nodes;
using Microsoft.OpenApi;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Http;

// The OpenAPI document shows this; its settings are added from the table of settings, and RequestReader reads the request itself.
/// <summary>A request for a video.</summary>
internal sealed record CreateVideo
{
    [Description("A model of /v1/models; the default is its first.")]
    public string? Model { get; init; }

    [Description("A picture (first frame) or a video (continued); in JSON a data URL.")]
    public IFormFile? InputReference { get; init; }

    [Description("Steps of each stage of the first unit; later units take fewer, as the model does. Other services have this field for both.")]
    public int? NumInferenceSteps { get; init; }

    [Description("Continues an earlier video.")]
    public string? ExtendVideoId { get; init; }

    [Description("Begins with the last frame of an earlier video.")]
    public string? LastFrameOfVideoId { get; init; }

    [Description("So many videos, each with the next seed; 1 to 10. The answer is the first; ids names all.")]
    public int? N { get; init; }

    [Description("Address that is called when the video has ended, on a host that the service lists.")]
    public string? Webhook { get; init; }

    [Description("Object (in a form: JSON, or extra_params[name]) whose fields count as if they stood in the body.")]
    public string? ExtraParams { get; init; }

    /// <summary>Adds the settings to the schema of a request or of a video.</summary>
    public static void AddSettings(OpenApiSchema schema, Type type)
    {
        if (type != typeof(CreateVideo) && type != typeof(ExtendVideo) && type != typeof(VideoObject) && type != typeof(CreateImage))
            return;
        schema.Properties ??= new Dictionary<string, IOpenApiSchema>();
        foreach (var setting in SettingsTable.All.Where(setting => setting.Field is not null && !schema.Properties.ContainsKey(setting.Field)
            && !(type == typeof(CreateImage) && KnownFields.OfVideosOnly.Contains(setting.Field))))
            schema.Properties[setting.Field!] = SchemaOf(setting);
        schema.AdditionalPropertiesAllowed = false;
        if (type == typeof(CreateVideo) || type == typeof(CreateImage))
            schema.Required = new HashSet<string> { "prompt" };
        else if (type == typeof(ExtendVideo))
            schema.Required = new HashSet<string> { "video" };
    }

    private static OpenApiSchema SchemaOf(Setting setting)
    {
        var (least, most) = setting.Type.Range;
        return new OpenApiSchema
        {
            // Null stands for what is left out; without it clients would send 0.
            Type = (setting.Name == "prompt" ? 0 : JsonSchemaType.Null) | setting.Type.Schema switch
            {
                "integer" => JsonSchemaType.Integer,
                "number" => JsonSchemaType.Number,
                "boolean" => JsonSchemaType.Boolean,
                "array" => JsonSchemaType.Array,
                _ => JsonSchemaType.String,
            },
            // A seed may be larger than 32 bits.
            Format = setting.Name == "seed" ? "int64" : null,
            Items = setting.Type.Schema != "array" ? null : ItemOf(setting),
            Description = $"{char.ToUpperInvariant(setting.Help[0])}{setting.Help[1..]}{(setting.Default.Length == 0 ? "" : $"; by default {setting.Default}")}.",
            Minimum = least?.ToString(CultureInfo.InvariantCulture),
            Maximum = most?.ToString(CultureInfo.InvariantCulture),
            Enum = setting.Type.Choices is { } choices ? [.. choices.Select(choice => JsonValue.Create(choice))] : null,
        };
    }

    private static OpenApiSchema ItemOf(Setting setting) => setting.Name switch
    {
        "steps" or "video_steps" => new() { Type = JsonSchemaType.Integer },
        "prompts" => new()
        {
            Type = JsonSchemaType.Object,
            Properties = new Dictionary<string, IOpenApiSchema>
            {
                ["from"] = new OpenApiSchema { Type = JsonSchemaType.Number, Description = "Second from which it takes over." },
                ["prompt"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "What the video shows then." },
            },
            Required = new HashSet<string> { "from", "prompt" },
        },
        "lora" => new()
        {
            Type = JsonSchemaType.Object,
            Properties = new Dictionary<string, IOpenApiSchema>
            {
                ["name"] = new OpenApiSchema { Type = JsonSchemaType.String, Description = "A LoRA of /v1/loras." },
                ["weight"] = new OpenApiSchema { Type = JsonSchemaType.Number, Description = "How much it counts: 1 is as it was trained." },
            },
            Required = new HashSet<string> { "name" },
        },
        _ => new() { Type = JsonSchemaType.Number },
    };
}

/// <summary>A request for a video made again with another prompt.</summary>
internal sealed record RemixVideo
{
    [Description("What the video shows now.")]
    public required string Prompt { get; init; }

    [Description("Address that is called when the video has ended, on a host that the service lists.")]
    public string? Webhook { get; init; }
}

/// <summary>A request for a video of this service made again with another prompt, as OpenAI's clients send it.</summary>
internal sealed record EditVideo
{
    [Description("What the video shows now.")]
    public required string Prompt { get; init; }

    [Description("Address that is called when the video has ended, on a host that the service lists.")]
    public string? Webhook { get; init; }

    [Description("The video: an object with its id.")]
    public required VideoReference Video { get; init; }
}

/// <summary>A video that is named in a request.</summary>
/// <param name="Id">Id of the video.</param>
internal sealed record VideoReference(string Id);

/// <summary>A request for a longer video; settings that are left out are the original's.</summary>
internal sealed record ExtendVideo
{
    [Description("The video to continue: an object with its id, or a file.")]
    public required IFormFile Video { get; init; }

    [Description("Model of the new part; by default the original's, for a file the first.")]
    public string? Model { get; init; }

    [Description("So many videos, each with the next seed; 1 to 10. The answer is the first; ids names all.")]
    public int? N { get; init; }

    [Description("Address that is called when the video has ended, on a host that the service lists.")]
    public string? Webhook { get; init; }

    [Description("Object (in a form: JSON, or extra_params[name]) whose fields count as if they stood in the body.")]
    public string? ExtraParams { get; init; }
}
