using System.Globalization;
using System.Text.Json;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Generation;

/// <summary>
/// Every setting of a generation, in the order of the help. Command line, batch files, JSON prompts, REST and its OpenAPI document, the
/// notes of a file, <c>--like</c>, the page and the echo of a job are derived from these rows.
/// </summary>
internal static class SettingsTable
{
    /// <summary>The settings.</summary>
    public static IReadOnlyList<Setting> All { get; } =
    [
        new("frames", Whole(1), o => o.Frames, (o, v) => o with { Frames = (int?)v })
        {
            Option = "--frames", Field = "num_frames", Group = SettingGroup.Size, ReplacedBy = ["seconds"],
            Help = "frames: 1, 9, 17, ...", ExtendHelp = "frames to add: 8, 16, ...", Default = "the model's; 1 for a .png",
        },
        new("seconds", Positive("S"), o => o.Seconds, (o, v) => o with { Seconds = (double?)v })
        {
            Option = "--seconds", Field = "seconds", Group = SettingGroup.Size, ReplacedBy = ["frames"], IsNoted = false,
            Help = "length in place of the number of frames, rounded to what the model can make",
        },
        new("size", Size, o => o is { Width: { } width, Height: { } height } ? new FrameSize(width, height) : null,
            (o, v) => o with { Width = ((FrameSize?)v)?.Width, Height = ((FrameSize?)v)?.Height })
        {
            Option = "--size", Field = "size", Group = SettingGroup.Size, IsNoted = false, Help = "size in pixels, such as 640x384", Default = "the model's",
        },
        new("width", Whole(1), o => o.Width, (o, v) => o with { Width = (int?)v }) { Group = SettingGroup.Size, Help = "pixels, with height" },
        new("height", Whole(1), o => o.Height, (o, v) => o with { Height = (int?)v }) { Group = SettingGroup.Size, Help = "pixels, with width" },
        new("fps", Number(1, 240, "FPS", "use 1 to 240 frames per second"), o => o.FramesPerSecond, (o, v) => o with { FramesPerSecond = (double?)v })
        {
            Option = "--fps", Field = "fps", Label = "Frames per second", Group = SettingGroup.Size, Help = "frames per second that the file plays with; the same frames are made", Default = "the model's",
        },
        new("prompt", Text, o => o.Prompt, (o, v) => o with { Prompt = (string?)v }) { Field = "prompt", Group = SettingGroup.Content, Help = "what the video shows" },
        new("prompts", Schedule, o => o.Schedule.Count > 0 ? new PromptSchedule(null, o.Schedule) : null,
            (o, v) => o with { Prompt = o.Prompt ?? ((PromptSchedule?)v)?.First, Schedule = ((PromptSchedule?)v)?.Later ?? [] })
        {
            Field = "prompts", Group = SettingGroup.Content, ReplacedBy = ["prompt"], Help = "prompt schedule: prompts that take over later, as [{\"from\": seconds, \"prompt\": text}, ...]",
        },
        new("seed", Seed, o => o.Seed, (o, v) => o with { Seed = (ulong?)v })
        {
            Option = "--seed", Field = "seed", Group = SettingGroup.Content, Help = "the same seed makes the same video; -1 is any", Default = "random",
        },
        new("negative_prompt", Text, o => o.NegativePrompt, (o, v) => o with { NegativePrompt = (string?)v })
        {
            Aliases = ["negative"], Option = "--negative", Field = "negative_prompt", Group = SettingGroup.Content, Help = "what the video must not show", Default = "the model's",
        },
        new("prompt_suffix", Text, o => o.PromptSuffix, (o, v) => o with { PromptSuffix = (string?)v })
        {
            Aliases = ["suffix"], Option = "--suffix", Field = "prompt_suffix", Label = "Text after every prompt", Group = SettingGroup.Content,
            Help = "text put after every prompt; \"\" for none", Default = "the model's",
        },
        new("guidance", Number(0, double.MaxValue, "SCALE", "use 0 (off) or a positive number"), o => o.Guidance, (o, v) => o with { Guidance = (double?)v })
        {
            Option = "--guidance", Field = "guidance_scale", Group = SettingGroup.Content, Help = "how closely the first frame follows the prompt; 0 is off", Default = "the model's",
        },
        new("video_guidance", Number(0, double.MaxValue, "SCALE", "use 0 (off) or a positive number"), o => o.VideoGuidance, (o, v) => o with { VideoGuidance = (double?)v })
        {
            Option = "--video-guidance", Field = "video_guidance_scale", Group = SettingGroup.Content, Help = "how closely the later frames follow the prompt; 0 is off", Default = "the model's",
        },
        new("linear_guidance", Pair, o => o.LinearGuidance, (o, v) => o with { LinearGuidance = (LinearGuidance?)v })
        {
            Option = "--linear-guidance", Field = "linear_guidance", Label = "Linear guidance: fall a unit, least", Group = SettingGroup.Content, Bare = new LinearGuidance(0.5, 2),
            Help = "guidance falls by ALPHA with each unit, to MIN at least; 0.5,2 without values", Default = "off",
        },
        new("steps", Steps, o => o.Steps, (o, v) => o with { Steps = (IReadOnlyList<int>?)v })
        {
            Option = "--steps", Field = "steps", Help = "denoising steps of the first frame in each stage; one number stands for all stages", Default = "the model's",
        },
        new("video_steps", Steps, o => o.VideoSteps, (o, v) => o with { VideoSteps = (IReadOnlyList<int>?)v })
        {
            Option = "--video-steps", Field = "video_steps", Help = "denoising steps of each later unit in each stage", Default = "the model's",
        },
        new("frames_per_unit", Whole(1, 1024), o => o.FramesPerUnit, (o, v) => o with { FramesPerUnit = (int?)v })
        {
            Option = "--frames-per-unit", Field = "frames_per_unit", Label = "Latent frames per unit", Usual = 1, Help = "latent frames made at once, 8 frames of video each", Default = "1",
        },
        new("history", Whole(0), o => o.HistoryWindow, (o, v) => o with { HistoryWindow = (int?)v })
        {
            Option = "--history", Field = "history", Label = "History window, latent frames", Help = "latent frames of history that a unit attends to, 0 for all",
            Default = "all, or as many as the model was trained on if the clip is longer",
        },
        new("sample_image", Flag, o => o.SampleImage, (o, v) => o with { SampleImage = (bool?)v })
        {
            Option = "--sample-image", Field = "sample_image", Label = "Draw the latents of a given picture", Usual = false,
            Help = "draw the latents of given pictures from the posterior, as the released code does, in place of its mean",
        },
        new("new_only", Flag, o => o.NewFramesOnly, (o, v) => o with { NewFramesOnly = (bool?)v })
        {
            Usual = false, Help = "leave the frames of the given video out",
        },
        new("lora", Loras, o => o.Loras, (o, v) => o with { Loras = (IReadOnlyList<LoraUse>?)v })
        {
            Field = "lora", Label = "LoRAs", Group = SettingGroup.Content, IsNoted = false,
            Help = "adds LoRAs of the service: a name, NAME:WEIGHT, or a list of names and of {\"name\": ..., \"weight\": ...}", Default = "none",
        },
        new("reuse_prefix", Whole(1, 1000), o => o.ReusePrefix, (o, v) => o with { ReusePrefix = (int?)v })
        {
            Option = "--reuse-prefix", Field = "reuse_prefix", Label = "Steps that share text and history", Group = SettingGroup.Approximations, Usual = 1,
            Help = "compute text and history once for N neighbouring steps of a stage, such as 2", Default = "1, exact",
        },
        new("guidance_every", Whole(1, 1000), o => o.GuidanceEvery, (o, v) => o with { GuidanceEvery = (int?)v })
        {
            Option = "--guidance-every", Field = "guidance_every", Label = "Guidance in every n-th step", Group = SettingGroup.Approximations, Usual = 1,
            Help = "compute guidance in every N-th step of a stage, such as 2, and repeat it between", Default = "1, exact",
        },
        new("solver", Solver, o => o.Solver, (o, v) => o with { Solver = (IFlowSolver?)v })
        {
            Option = "--solver", Field = "solver", Label = "Solver", Group = SettingGroup.Approximations,
            Help = "how the flow is integrated; second-order needs fewer steps", Default = "euler, or uniform for a model that is distilled to few steps",
        },
    ];

    /// <summary>The setting of a name, alias, option or field; null is none.</summary>
    public static Setting? Find(string name) => All.FirstOrDefault(setting => setting.Name == name || setting.Aliases.Contains(name));

    /// <summary>All texts of a request, each with its setting: those of a prompt schedule too.</summary>
    public static IEnumerable<(Setting Setting, string Text)> Texts(GenerationOptions options) => All
        .Where(setting => setting.Type.IsText).Select(setting => (setting, setting.Get(options) as string))
        .Concat(options.Schedule.Select(change => (Find("prompts")!, (string?)change.Prompt)))
        .Where(each => each.Item2 is not null)!;

    /// <summary>Options with what they leave out taken from others.</summary>
    /// <param name="options">What was asked for.</param>
    /// <param name="others">Such as the notes of an earlier file.</param>
    public static T Over<T>(T options, GenerationOptions others)
        where T : GenerationOptions => All
            .Where(setting => setting.Get(options) is null && setting.Get(others) is not null && !setting.ReplacedBy.Any(other => Find(other)!.Get(options) is not null))
            .Aggregate(options, (result, setting) => setting.Set(result, setting.Get(others)));

    /// <summary>The settings that are not left out nor as usual, as the members of a JSON object.</summary>
    /// <param name="writer">Stands in an object.</param>
    /// <param name="options">The settings.</param>
    /// <param name="name">The key of each; null leaves it out.</param>
    public static void Write(Utf8JsonWriter writer, GenerationOptions options, Func<Setting, string?> name)
    {
        foreach (var setting in All)
        {
            if (name(setting) is not { } key || setting.Get(options) is not { } value || value.Equals(setting.Usual))
                continue;
            writer.WritePropertyName(key);
            setting.Type.Write(writer, value);
        }
    }

    /// <summary>The same as a JSON object.</summary>
    /// <inheritdoc cref="Write"/>
    public static string ToJson(GenerationOptions options, Func<Setting, string?> name) => ReadableJson.Write(writer =>
    {
        writer.WriteStartObject();
        Write(writer, options, name);
        writer.WriteEndObject();
    });

    /// <summary>A text of JSON without a NUL character.</summary>
    /// <exception cref="FormatException">It is something else.</exception>
    public static string Words(JsonElement value) => value.ValueKind != JsonValueKind.String ? throw new FormatException("write a text in quotes")
        : value.GetString()!.Contains('\0', StringComparison.Ordinal) ? throw new FormatException("it holds a NUL character: leave that out")
        : value.GetString()!;

    // The types of values. A text is read alike on a command line, in a file, in a form and on the page.

    private static SettingType Text => new("string", text => text, value => (string)value, (writer, value) => writer.WriteStringValue((string)value)) { ValueName = "TEXT" };

    private static SettingType Flag => new("boolean",
        text => bool.TryParse(text, out var value) ? value : throw new FormatException("use true or false"),
        value => (bool)value ? "true" : "false", (writer, value) => writer.WriteBooleanValue((bool)value));

    private static SettingType Seed => new("integer",
        text => PlainNumber.TryWhole(text, out var value) && value == -1 ? null
            : PlainNumber.TryUnsigned(text, out var seed) ? seed
            : throw new FormatException("use a whole number from 0, or -1 for any"),
        value => Invariant(value), (writer, value) => writer.WriteNumberValue((ulong)value))
    { ValueName = "NUMBER", Range = (-1, null) };

    private static SettingType Size => new("string",
        text => FrameSize.Parse(text), value => $"{(FrameSize)value}", (writer, value) => writer.WriteStringValue($"{(FrameSize)value}"))
    { ValueName = "WxH", IsCompact = true };

    private static SettingType Steps => new("array", text => ParseSteps(text),
        value => ((IReadOnlyList<int>)value) is var steps && steps.Distinct().Count() == 1 && steps.Count > 0 ? Invariant(steps[0]) : string.Join(',', (IReadOnlyList<int>)value),
        (writer, value) => WriteList(writer, ((IReadOnlyList<int>)value).Select(step => (double)step)))
    { ValueName = "N,N,N" };

    private static SettingType Pair => new("array", text => ParsePair(text),
        value => (LinearGuidance)value is var (alpha, minimum) ? FormattableString.Invariant($"{alpha},{minimum}") : "",
        (writer, value) => WriteList(writer, [((LinearGuidance)value).Alpha, ((LinearGuidance)value).Minimum]))
    { ValueName = "ALPHA,MIN" };

    private static SettingType Schedule => new("array", PromptSchedule.Parse, value => $"{(PromptSchedule)value}", (writer, value) => ((PromptSchedule)value).Write(writer))
    { ReadStructure = PromptSchedule.Read };

    private static SettingType Loras => new("array", LoraList.Parse, value => LoraList.Format((IReadOnlyList<LoraUse>)value), (writer, value) => LoraList.Write(writer, (IReadOnlyList<LoraUse>)value))
    { ValueName = "NAME[:WEIGHT]", ReadStructure = LoraList.Read };

    private static SettingType Solver => new("string",
        text => FlowSolvers.Find(text) ?? throw new FormatException($"use {FlowSolvers.Choices}"),
        value => ((IFlowSolver)value).Name, (writer, value) => writer.WriteStringValue(((IFlowSolver)value).Name))
    { ReadChoices = () => FlowSolvers.Names };

    private static SettingType Whole(int least, int most = int.MaxValue) => new("integer",
        text => most == int.MaxValue ? Whole(text, least)
            : PlainNumber.TryWhole(text, out var value) && value >= least && value <= most ? (int)value
            : throw new FormatException($"use a whole number from {least} to {most}"),
        value => Invariant(value), (writer, value) => writer.WriteNumberValue((int)value))
    { ValueName = "N", Range = (least, most == int.MaxValue ? null : most) };

    private static SettingType Number(double least, double most, string name, string form) => new("number",
        text => PlainNumber.TryReal(text, out var value) && value >= least && value <= most ? value : throw Unfit(text, form),
        value => Invariant(value), (writer, value) => writer.WriteNumberValue((double)value))
    { ValueName = name, Range = (least, most == double.MaxValue ? null : most) };

    private static SettingType Positive(string name) => new("number",
        text => PlainNumber.TryReal(text, out var value) && value > 0 ? value : throw Unfit(text, "use a positive number"),
        value => Invariant(value), (writer, value) => writer.WriteNumberValue((double)value))
    { ValueName = name, Range = (0, null) };

    /// <summary>A whole number.</summary>
    /// <param name="text">As people write it.</param>
    /// <param name="least">The least that is taken.</param>
    /// <param name="more">What the message says further.</param>
    /// <exception cref="FormatException">It is no whole number or too small.</exception>
    public static int Whole(string text, int least, string more = "") =>
        PlainNumber.TryWhole(text, out var value) && value >= least && value <= int.MaxValue
            ? (int)value
            : throw new FormatException($"use a whole number from {least}{more}{(text.Contains(',', StringComparison.Ordinal) ? ", without a comma" : "")}");

    private static int[] ParseSteps(string text)
    {
        text = text.Trim();
        if (text is ['[', .. var inner, ']'])
            text = inner;
        return [.. text.Split(',').Select(part => Whole(part.Trim(), 1, ", one for each stage, such as 20,20,20"))];
    }

    private static LinearGuidance ParsePair(string text)
    {
        text = text.Trim();
        if (text is ['[', .. var inner, ']'])
            text = inner;
        return text.Split(',') is [var alpha, var minimum] ? new(Part(alpha), Part(minimum)) : throw Fault();

        static double Part(string text) => PlainNumber.TryReal(text, out var value) && value >= 0 ? value : throw Fault();

        static FormatException Fault() => new("use the fall for each unit and the least scale, such as 0.5,2");
    }

    private static FormatException Unfit(string text, string form) => new(PlainNumber.Advice(text) is { Length: > 0 } advice ? advice : form);

    private static void WriteList(Utf8JsonWriter writer, IEnumerable<double> values)
    {
        writer.WriteStartArray();
        foreach (var value in values)
            writer.WriteNumberValue(value);
        writer.WriteEndArray();
    }

    private static string Invariant(object value) => ((IFormattable)value).ToString(null, CultureInfo.InvariantCulture);
}
