using System.Globalization;
using Microsoft.AspNetCore.Components.Forms;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>What stands in the form, as it was typed.</summary>
internal sealed class Draft
{
    /// <summary>What the video begins with.</summary>
    public DraftMode Mode { get; set; }

    /// <summary>What is to be seen.</summary>
    public string Prompt { get; set; } = "";

    /// <summary>What guidance steers away from.</summary>
    public string NegativePrompt { get; set; } = "";

    /// <summary>Length in steps of the slider: each is 8 frames, after the first one.</summary>
    public int Units { get; set; }

    /// <summary>Least <see cref="Units"/>: what begins with a picture or a video has frames that follow it.</summary>
    public int LeastUnits => Mode == DraftMode.Text ? 0 : 1;

    /// <summary>Length in units that the request has.</summary>
    public int Length => Math.Max(Units, LeastUnits);

    /// <summary>Whether the size is typed and not chosen.</summary>
    public bool HasOwnSize { get; set; }

    /// <summary>Pixels.</summary>
    public string Width { get; set; } = "";

    /// <summary>Pixels.</summary>
    public string Height { get; set; } = "";

    /// <summary>Steps of the first frame: a number for all stages, or one for each.</summary>
    public string Steps { get; set; } = "";

    /// <summary>Likewise for the frames that follow.</summary>
    public string VideoSteps { get; set; } = "";

    /// <summary>Guidance of the first frame.</summary>
    public string Guidance { get; set; } = "";

    /// <summary>Guidance of the frames that follow.</summary>
    public string VideoGuidance { get; set; } = "";

    /// <summary>Seed; unused unless it is kept.</summary>
    public string Seed { get; set; } = "";

    /// <summary>Whether the seed stays the same from video to video.</summary>
    public bool KeepsSeed { get; set; }

    /// <summary>Greatest <see cref="Count"/>.</summary>
    public const int MostVideos = 4;

    /// <summary>Videos that are asked for at once, which differ in their seed alone.</summary>
    public int Count { get; set; } = 1;

    /// <summary>Prompts that take over later, by their time.</summary>
    public List<LaterPrompt> Later { get; private set; } = [];

    /// <summary>The same as a request has them.</summary>
    public IReadOnlyList<PromptChange> Schedule
    {
        get => [.. Later.Select(later => new PromptChange(later.Seconds, later.Prompt.Trim()))];
        set => Later = [.. value.Select(change => new LaterPrompt { Seconds = change.FromSeconds, Prompt = change.Prompt })];
    }

    /// <summary>The settings whose inputs follow from the table (<see cref="Setting.Label"/>), by name; an empty text is as the model has it.</summary>
    public Dictionary<string, string> Labelled { get; set; } = [];

    /// <summary>The settings that stand in <see cref="Labelled"/>.</summary>
    public static IReadOnlyList<Setting> LabelledSettings { get; } = [.. SettingsTable.All.Where(setting => setting.Label is not null)];

    /// <summary>The setting of LoRAs, which has an input of its own (<see cref="LoraChooser"/>).</summary>
    public static Setting LoraSetting { get; } = SettingsTable.Find("lora")!;

    /// <summary>The labelled settings whose inputs are folded away.</summary>
    public static IReadOnlyList<Setting> FurtherSettings { get; } = [.. LabelledSettings.Where(setting => setting != LoraSetting)];

    /// <summary>A picture or video of the user's own to begin with.</summary>
    public IBrowserFile? File
    {
        get;
        set
        {
            if (field != value)
                FileSize = null;
            field = value;
        }
    }

    /// <summary>Pixels of <see cref="File"/>, as soon as the browser has opened it.</summary>
    public (int Width, int Height)? FileSize { get; set; }

    /// <summary>An earlier video to begin with its end.</summary>
    public VideoJob? From { get; set; }

    /// <summary>An earlier video to begin with the same upload as.</summary>
    public VideoJob? SameInputAs { get; set; }

    /// <summary>Fills in what a model uses by itself; prompt and what it begins with stay.</summary>
    public void Use(VideoModel model)
    {
        var settings = model.Settings;
        NegativePrompt = settings.NegativePrompt;
        Units = (settings.Frames - 1) / VideoLength.Scale;
        Take(settings.Width, settings.Height, settings.Steps, settings.VideoSteps, settings.Guidance, settings.VideoGuidance, model);
        (Schedule, KeepsSeed, Seed) = ([], false, "");
        Labelled = LabelledSettings.ToDictionary(setting => setting.Name, setting => Unset(setting, model));
    }

    /// <summary>Fills in everything as it was for an earlier video, its seed too.</summary>
    /// <param name="job">The video.</param>
    /// <param name="model">The model it was made with.</param>
    public void Use(VideoJob job, VideoModel model)
    {
        Use(job.Request, model);
        SameInputAs = job.Request.Input is null ? null : job;
    }

    /// <summary>Fills in a request; what it begins with is for the user to choose.</summary>
    public void Use(VideoRequest request, VideoModel model)
    {
        Use(model);
        (Prompt, NegativePrompt, Schedule) = (request.Prompt ?? "", request.NegativePrompt ?? "", request.Schedule);
        var own = Own(model);
        foreach (var setting in LabelledSettings.Where(setting => setting.Get(request) is { } value && !value.Equals(setting.Usual) && !setting.IsSame(request, own)))
            Labelled[setting.Name] = setting.Text(request);
        Mode = request.Input?.Kind switch { null => DraftMode.Text, VideoInputKind.Image => DraftMode.Image, _ => DraftMode.Extend };
        Units = (request.Frames ?? 1) / VideoLength.Scale;
        var settings = model.Settings;
        Take(request.Width ?? settings.Width, request.Height ?? settings.Height, request.Steps ?? settings.Steps, request.VideoSteps ?? settings.VideoSteps,
            request.Guidance ?? settings.Guidance, request.VideoGuidance ?? settings.VideoGuidance, model);
        (KeepsSeed, Seed) = (true, Text(request.Seed ?? 0));
        (File, From, SameInputAs) = (null, null, null);
    }

    /// <summary>Begins with an earlier video, at its size; its prompt is taken where there is none.</summary>
    public void Continue(VideoJob job, DraftMode mode)
    {
        (Mode, File, From, SameInputAs) = (mode, null, job, null);
        if (job.Request is { Width: { } width, Height: { } height })
            Resize(width, height);
        if (Prompt.Length == 0)
            Prompt = job.Request.Prompt ?? "";
    }

    /// <summary>The text of a labelled setting that is as the model has it.</summary>
    public static string Unset(Setting setting, VideoModel model) => setting.Type.IsText ? setting.Text(Own(model)) : "";

    /// <summary>Takes a size.</summary>
    public void Resize(int width, int height) => (Width, Height) = (Text(width), Text(height));

    /// <summary>Takes a size, as one of those to choose where it is among them.</summary>
    public void Resize(int width, int height, VideoModel model)
    {
        Resize(width, height);
        HasOwnSize = !SizeChoice.Of(model).Any(size => size.Width == width && size.Height == height);
    }

    private void Take(int width, int height, IReadOnlyList<int> steps, IReadOnlyList<int> videoSteps, double guidance, double videoGuidance, VideoModel model)
    {
        Resize(width, height, model);
        (Steps, VideoSteps) = (Text(steps), Text(videoSteps));
        (Guidance, VideoGuidance) = (Text(guidance), Text(videoGuidance));
    }

    /// <summary>Steps as one number when all stages have the same.</summary>
    public static string Text(IReadOnlyList<int> steps) =>
        steps.Distinct().Count() == 1 ? Text(steps[0]) : string.Join(", ", steps.Select(count => Text(count)));

    private static GenerationOptions Own(VideoModel model) =>
        new() { PromptSuffix = model.Settings.PromptSuffix, FramesPerSecond = model.Settings.FramesPerSecond };

    private static string Text(IFormattable value) => value.ToString(null, CultureInfo.InvariantCulture);
}
