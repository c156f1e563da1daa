using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>What a field of a request holds.</summary>
internal enum FieldKind
{
    /// <summary>A text.</summary>
    Text,

    /// <summary>A number, or a text that is one: OpenAI's clients send lengths as texts.</summary>
    Number,

    /// <summary>One number, or a list of them.</summary>
    Numbers,

    /// <summary>A list, or a text that is one as JSON.</summary>
    List,

    /// <summary>An object, or a text that is one as JSON.</summary>
    Object,

    /// <summary>A picture or video: a data URL, or an object with one.</summary>
    Reference,
}

/// <summary>The fields that a request may have: the one place that lists them. Any other is refused.</summary>
internal sealed class KnownFields
{
    /// <summary>Objects whose fields count as if they stood in the body.</summary>
    public static readonly string[] Further = ["extra_params", "extra_body"];

    /// <summary>The picture or video.</summary>
    public const string Reference = "input_reference";

    // What comes from the habit of another program.
    private static readonly Dictionary<string, string> Other = new(StringComparer.Ordinal)
    {
        ["width"] = "size", ["height"] = "size", ["frames"] = "num_frames", ["duration"] = "seconds", ["negative"] = "negative_prompt", ["suffix"] = "prompt_suffix",
        ["guidance"] = "guidance_scale", ["video_guidance"] = "video_guidance_scale", ["image"] = "input_reference", ["image_url"] = "input_reference",
    };

    private const int LongestName = 60;
    private readonly Dictionary<string, FieldKind> kinds;

    private KnownFields(Dictionary<string, FieldKind> kinds) => this.kinds = kinds;

    /// <summary>Fields of <c>POST /v1/videos</c>.</summary>
    public static KnownFields Create { get; } = new(new()
    {
        ["prompt"] = FieldKind.Text, ["model"] = FieldKind.Text, ["seconds"] = FieldKind.Number, ["size"] = FieldKind.Text, ["input_reference"] = FieldKind.Reference,
        ["num_frames"] = FieldKind.Number, ["fps"] = FieldKind.Number, ["num_inference_steps"] = FieldKind.Numbers, ["steps"] = FieldKind.Numbers, ["video_steps"] = FieldKind.Numbers,
        ["guidance_scale"] = FieldKind.Number, ["video_guidance_scale"] = FieldKind.Number, ["seed"] = FieldKind.Number,
        ["negative_prompt"] = FieldKind.Text, ["prompt_suffix"] = FieldKind.Text, ["prompts"] = FieldKind.List,
        ["extend_video_id"] = FieldKind.Text, ["last_frame_of_video_id"] = FieldKind.Text,
        ["reuse_prefix"] = FieldKind.Number, ["guidance_every"] = FieldKind.Number, ["solver"] = FieldKind.Text,
        ["extra_params"] = FieldKind.Object, ["extra_body"] = FieldKind.Object,
        // OpenAI's clients have these in some of their calls; nothing here follows from them.
        ["user"] = FieldKind.Text, ["quality"] = FieldKind.Text, ["response_format"] = FieldKind.Text, ["n"] = FieldKind.Number,
    });

    /// <summary>Fields of <c>POST /v1/videos/extensions</c>.</summary>
    public static KnownFields Extend { get; } = new(new(Create.kinds) { ["video"] = FieldKind.Object });

    /// <summary>Fields of <c>POST /v1/videos/{id}/remix</c>.</summary>
    public static KnownFields Remix { get; } = new(new() { ["prompt"] = FieldKind.Text, ["user"] = FieldKind.Text });

    /// <summary>Whether there is a field of this name.</summary>
    public bool Has(string name) => kinds.ContainsKey(name);

    /// <summary>What a field holds.</summary>
    /// <exception cref="JobException">There is no such field; names the one that was meant.</exception>
    public FieldKind KindOf(string name) => kinds.TryGetValue(name, out var kind) ? kind : throw Unknown(name);

    /// <summary>The error for a field that is not there.</summary>
    public JobException Unknown(string name)
    {
        var shown = StrictText.OneLine(name, LongestName);
        var meant = Other.TryGetValue(name, out var other) && Has(other) ? other : name.Length > LongestName ? null : NearestName.FindTypo(name, kinds.Keys);
        return new JobException(JobFault.Invalid, meant is null
            ? $"unknown field {shown}: use {string.Join(", ", kinds.Keys)}"
            : $"unknown field {shown}, the nearest is {meant}") { Parameter = shown };
    }
}
