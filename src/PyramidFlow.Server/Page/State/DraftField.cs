namespace PyramidFlow.Server.Page.State;

/// <summary>Fields of the form, named as REST names its parameters: a fault of one names the other.</summary>
internal static class DraftField
{
    public const string Prompt = "prompt", NegativePrompt = "negative_prompt", Model = "model", Size = "size", Width = "width", Height = "height", Seconds = "seconds",
        Steps = "steps", VideoSteps = "video_steps", Guidance = "guidance_scale", VideoGuidance = "video_guidance_scale",
        Seed = "seed", Input = "input_reference", Lora = "lora", Prompts = "prompts";

    /// <summary>What belongs to no field.</summary>
    public const string Form = "form";

    /// <summary>In the order they stand on the page.</summary>
    public static IReadOnlyList<string> All { get; } = [Model, Input, Prompt, Seconds, Size, Width, Height, Prompts, Lora, NegativePrompt, Steps, VideoSteps, Guidance, VideoGuidance,
        .. Draft.FurtherSettings.Select(setting => setting.Field!), Seed];

    /// <summary>The field that a parameter of REST stands in; <see cref="Form"/> where it stands in none.</summary>
    public static string Of(string? parameter) => parameter switch
    {
        "num_frames" => Seconds,
        not null when All.Contains(parameter) => parameter,
        _ => Form,
    };

    /// <summary>Whether a field lies in the part of the form that can be folded away.</summary>
    public static bool IsFolded(string field) => field is NegativePrompt or Steps or VideoSteps or Guidance or VideoGuidance;

    /// <summary>Whether a field is the input of a labelled setting that can be folded away.</summary>
    public static bool IsLabelled(string field) => Draft.FurtherSettings.Any(setting => setting.Field == field);
}
