using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>What a field of a request holds.</summary>
internal enum FieldKind
{
    /// <summary>A setting of the generation, whose type says what it may hold (<see cref="SettingsTable"/>).</summary>
    Setting,

    /// <summary>A text.</summary>
    Text,

    /// <summary>A number, or a text that is one: OpenAI's clients send lengths as texts.</summary>
    Number,

    /// <summary>An object, or a text that is one as JSON.</summary>
    Object,

    /// <summary>true or false.</summary>
    Flag,

    /// <summary>A picture or video: a data URL, or an object with one.</summary>
    Reference,
}

/// <summary>The fields that a request may have: those of the settings, and those of REST itself. Any other is refused.</summary>
internal sealed class KnownFields
{
    /// <summary>Objects whose fields count as if they stood in the body.</summary>
    public static readonly string[] Further = ["extra_params", "extra_body"];

    /// <summary>The picture or video.</summary>
    public const string Reference = "input_reference";

    /// <summary>Steps of the first unit from which those of later units follow; other services have this one field for both.</summary>
    public const string InferenceSteps = "num_inference_steps";

    // Names that other programs have for a field.
    private static readonly Dictionary<string, string> Other = new(StringComparer.Ordinal)
    {
        ["width"] = "size", ["height"] = "size", ["duration"] = "seconds", ["image"] = Reference, ["image_url"] = Reference,
    };

    private const int LongestName = 60;
    private readonly Dictionary<string, FieldKind> kinds;

    private KnownFields(Dictionary<string, FieldKind> kinds) => this.kinds = kinds;

    /// <summary>Fields of <c>POST /v1/videos</c>.</summary>
    public static KnownFields Create { get; } = new(new(
        new Dictionary<string, FieldKind> { ["prompt"] = FieldKind.Setting, ["model"] = FieldKind.Text }
            .Concat(SettingsTable.All.Where(setting => setting.Field is not (null or "prompt")).Select(setting => KeyValuePair.Create(setting.Field!, FieldKind.Setting)))
            .Concat(new Dictionary<string, FieldKind>
            {
                [InferenceSteps] = FieldKind.Setting, [Reference] = FieldKind.Reference,
                ["extend_video_id"] = FieldKind.Text, ["last_frame_of_video_id"] = FieldKind.Text,
                ["extra_params"] = FieldKind.Object, ["extra_body"] = FieldKind.Object,
                ["n"] = FieldKind.Number, ["webhook"] = FieldKind.Text,
                // OpenAI's clients have these in some of their calls; nothing here follows from them.
                ["user"] = FieldKind.Text, ["quality"] = FieldKind.Text, ["response_format"] = FieldKind.Text,
            })));

    /// <summary>Fields of <c>POST /v1/videos/extensions</c>.</summary>
    public static KnownFields Extend { get; } = new(new(Create.kinds) { ["video"] = FieldKind.Object });

    /// <summary>Fields of <c>POST /v1/videos/{id}/remix</c>.</summary>
    public static KnownFields Remix { get; } = new(new() { ["prompt"] = FieldKind.Setting, ["user"] = FieldKind.Text, ["webhook"] = FieldKind.Text });

    /// <summary>Fields of <c>POST /v1/videos/edits</c>.</summary>
    public static KnownFields Edit { get; } = new(new(Remix.kinds) { ["video"] = FieldKind.Object });

    /// <summary>Fields that a picture has no use for.</summary>
    public static readonly string[] OfVideosOnly = ["num_frames", "seconds", "fps", "prompts", "video_steps", "video_guidance_scale", "frames_per_unit", "history", "webhook"];

    /// <summary>Fields of <c>POST /v1/images/generations</c>: those of a video that a picture has a use for, and those of OpenAI's pictures.</summary>
    public static KnownFields Image { get; } = new(Create.kinds.Where(kind => kind.Value is not FieldKind.Reference && !kind.Key.EndsWith("_video_id", StringComparison.Ordinal) && !OfVideosOnly.Contains(kind.Key))
        .Concat(new Dictionary<string, FieldKind>
        {
            ["output_format"] = FieldKind.Text, ["background"] = FieldKind.Text, ["stream"] = FieldKind.Flag,
            // Nothing here follows from these.
            ["style"] = FieldKind.Text, ["moderation"] = FieldKind.Text, ["safety_identifier"] = FieldKind.Text, ["output_compression"] = FieldKind.Number, ["partial_images"] = FieldKind.Number,
        }).ToDictionary());

    /// <summary>Whether there is a field of this name.</summary>
    public bool Has(string name) => kinds.ContainsKey(name);

    /// <summary>What a field holds.</summary>
    /// <exception cref="JobException">There is no such field; names the one that was meant.</exception>
    public FieldKind KindOf(string name) => kinds.TryGetValue(name, out var kind) ? kind : throw Unknown(name);

    /// <summary>The error for a field that is not there.</summary>
    public JobException Unknown(string name)
    {
        var shown = StrictText.OneLine(name, LongestName);
        var other = Other.GetValueOrDefault(name) ?? SettingsTable.Find(name)?.Field;
        var meant = other is not null && Has(other) ? other : name.Length > LongestName ? null : NearestName.FindTypo(name, kinds.Keys);
        return ServiceFault.FieldUnknown(shown, meant, kinds.Keys);
    }
}
