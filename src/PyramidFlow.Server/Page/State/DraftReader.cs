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
        var request = Main(draft);
        foreach (var (name, text) in Own(draft))
            request = Parsed(SettingsTable.Find(name)!, text.Trim(), request);
        return Draft.LabelledSettings.Aggregate(request, (request, setting) => Labelled(setting, draft, request));
    }

    private VideoRequest Main(Draft draft) => new()
    {
        Model = model.Id,
        Prompt = draft.Prompt.Trim(),
        NegativePrompt = draft.NegativePrompt.Trim(),
        Schedule = draft.Schedule,
        Width = Side(draft.Width, DraftField.Width),
        Height = Side(draft.Height, DraftField.Height),
        Frames = FramesOf(draft),
        Input = Input(draft),
        RemixedFrom = draft.Mode == DraftMode.Text || draft.File is not null || draft.From is not null ? null : draft.SameInputAs?.Id,
    };

    // The settings with inputs of their own that take what the table takes.
    private static IEnumerable<(string Name, string Text)> Own(Draft draft)
    {
        yield return ("steps", draft.Steps);
        yield return ("video_steps", draft.VideoSteps);
        yield return ("guidance", draft.Guidance);
        yield return ("video_guidance", draft.VideoGuidance);
        if (draft.KeepsSeed)
            yield return ("seed", draft.Seed);
    }

    private VideoRequest Labelled(Setting setting, Draft draft, VideoRequest request)
    {
        var text = draft.Labelled.GetValueOrDefault(setting.Name, "");
        // A suffix begins with a comma and a space, and an empty one means none.
        if (!setting.Type.IsText)
            text = text.Trim();
        return text == Draft.Unset(setting, model) ? request : Parsed(setting, text, request);
    }

    private VideoRequest Parsed(Setting setting, string text, VideoRequest request)
    {
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
    public static int FramesOf(Draft draft) => (draft.Length * VideoLength.Scale) + (draft.Mode == DraftMode.Extend ? 0 : 1);

    private static VideoInput? Input(Draft draft) => draft.Mode switch
    {
        DraftMode.Image => new VideoInput(VideoInputKind.Image, draft.File is null ? draft.From?.Id : null),
        DraftMode.Extend => new VideoInput(VideoInputKind.Video, draft.File is null ? draft.From?.Id : null),
        _ => null,
    };

    private int? Side(string text, string side)
    {
        var (multiple, usual) = (model.SizeMultiple, side == DraftField.Width ? model.Settings.Width : model.Settings.Height);
        if (!PlainNumber.TryWhole(text, out var whole) || whole < 1)
            errors[side] = $"The {side} is a number of pixels: use a multiple of {multiple}, such as {usual}.";
        else if (whole > FrameSizes.MaxPixels / multiple)
            errors[side] = $"The {side} {whole} is too large: use a multiple of {multiple}, such as {usual}.";
        else if (whole % multiple != 0)
            errors[side] = $"The {side} {whole} is not a multiple of {multiple}: use {Near(whole, multiple)}.";
        else
            return (int)whole;
        return null;
    }

    private static string Near(long side, int multiple) =>
        side < multiple ? $"{multiple}" : $"{side / multiple * multiple} or {(side / multiple * multiple) + multiple}";
}
