using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Page.State;

/// <summary>Reads a form; what cannot be read is said beside its field.</summary>
/// <param name="model">The model that is chosen.</param>
/// <param name="errors">Takes a sentence for each field that is wrong.</param>
internal sealed class DraftReader(VideoModel model, IDictionary<string, string> errors)
{
    /// <summary>What the form asks for; of use only when there are no errors.</summary>
    public VideoRequest Read(Draft draft)
    {
        if (string.IsNullOrWhiteSpace(draft.Prompt) && draft.Mode == DraftMode.Text)
            errors[DraftField.Prompt] = "Say what is to be seen.";
        if (draft.Mode != DraftMode.Text && draft is { File: null, From: null, SameInputAs: null })
            errors[DraftField.Input] = draft.Mode == DraftMode.Image ? "Choose a picture to begin with." : "Choose a video to go on from.";
        return Draft.SamplerSettings.Aggregate(Main(draft), (request, setting) => Sampler(setting, draft, request));
    }

    private VideoRequest Main(Draft draft) => new()
    {
        Model = model.Id,
        Prompt = draft.Prompt.Trim(),
        NegativePrompt = draft.NegativePrompt.Trim(),
        Schedule = draft.Schedule,
        Width = Side(draft.Width, "width"),
        Height = Side(draft.Height, "height"),
        Frames = FramesOf(draft),
        Steps = Steps(draft.Steps, DraftField.Steps),
        VideoSteps = Steps(draft.VideoSteps, DraftField.VideoSteps),
        Guidance = Guidance(draft.Guidance, DraftField.Guidance),
        VideoGuidance = Guidance(draft.VideoGuidance, DraftField.VideoGuidance),
        Seed = draft.KeepsSeed ? Seed(draft.Seed) : null,
        Input = Input(draft),
        RemixedFrom = draft.Mode == DraftMode.Text || draft.File is not null || draft.From is not null ? null : draft.SameInputAs?.Id,
    };

    private VideoRequest Sampler(Setting setting, Draft draft, VideoRequest request)
    {
        var text = draft.Sampler.GetValueOrDefault(setting.Name, "").Trim();
        // A suffix begins with a comma and a space, and an empty one means none.
        if (setting.Type.IsText)
            text = draft.Sampler.GetValueOrDefault(setting.Name, "");
        if (text == Draft.Unset(setting, model))
            return request;
        try
        {
            return setting.Parse(request, text);
        }
        catch (FormatException e)
        {
            errors[setting.Field!] = $"“{text}” cannot be taken: {e.Message}.";
            return request;
        }
    }

    /// <summary>Frames that a form asks for; of an extension, the new ones.</summary>
    public static int FramesOf(Draft draft) => (draft.Units * VideoLength.Scale) + (draft.Mode == DraftMode.Extend ? 0 : 1);

    private static VideoInput? Input(Draft draft) => draft.Mode switch
    {
        DraftMode.Image => new VideoInput(VideoInputKind.Image, draft.File is null ? draft.From?.Id : null),
        DraftMode.Extend => new VideoInput(VideoInputKind.Video, draft.File is null ? draft.From?.Id : null),
        _ => null,
    };

    private int? Side(string text, string what)
    {
        var multiple = model.SizeMultiple;
        if (!PlainNumber.TryWhole(text, out var whole) || whole is < 1 or > int.MaxValue)
            errors[DraftField.Size] = $"The {what} is a number of pixels: use a multiple of {multiple}, such as {model.Settings.Width}.";
        else if (whole % multiple != 0)
            errors[DraftField.Size] = $"The {what} {whole} is not a multiple of {multiple}: use {Near(whole, multiple)}.";
        else
            return (int)whole;
        return null;
    }

    private static string Near(long side, int multiple) =>
        side < multiple ? $"{multiple}" : $"{side / multiple * multiple} or {(side / multiple * multiple) + multiple}";

    private int[]? Steps(string text, string field)
    {
        var stages = model.Settings.Steps.Count;
        var steps = new List<int>();
        foreach (var part in text.Split([',', ' '], StringSplitOptions.RemoveEmptyEntries))
        {
            if (PlainNumber.TryWhole(part, out var count) && count is > 0 and <= int.MaxValue)
                steps.Add((int)count);
            else
                errors[field] = $"“{part}” is no number of steps: use 1 or more, such as {model.Settings.Steps[0]}.";
        }

        if (steps.Count == 1)
            return [.. Enumerable.Repeat(steps[0], stages)];
        if (steps.Count != stages)
            errors.TryAdd(field, $"This model has {stages} stages: write one number for all of them, or {stages} with commas between.");
        return [.. steps];
    }

    private double? Guidance(string text, string field)
    {
        if (PlainNumber.TryReal(text, out var scale) && scale >= 0)
            return scale;
        errors[field] = PlainNumber.Advice(text) is { Length: > 0 } advice ? $"A comma can mean two things in a number: {advice}." : "Guidance is a number: 0 turns it off, 4 to 9 is usual.";
        return null;
    }

    private ulong? Seed(string text)
    {
        if (PlainNumber.TryUnsigned(text, out var seed))
            return seed;
        errors[DraftField.Seed] = "A seed is a whole number from 0 on, such as 42.";
        return null;
    }
}
