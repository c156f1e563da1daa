using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>Length and steps under one name.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Hint">What it is good for.</param>
/// <param name="Units">Steps of the length's slider.</param>
/// <param name="Steps">Steps of the first frame.</param>
/// <param name="VideoSteps">Steps of the frames that follow.</param>
internal sealed record Preset(string Name, string Hint, int Units, string Steps, string VideoSteps)
{
    /// <summary>What suits a model. A single picture is offered only where nothing is given that it could begin with.</summary>
    public static IReadOnlyList<Preset> Of(VideoModel model, DraftMode mode)
    {
        var settings = model.Settings;
        var units = (settings.Frames - 1) / VideoLength.Scale;
        var still = new Preset("Still", "One picture", 0, Scaled(settings.Steps, 1), Scaled(settings.VideoSteps, 1));
        Preset[] stills = mode == DraftMode.Text ? [still] : [];
        return units == 0 ? [still with { Name = "Standard" }, still with { Name = "Fine", Hint = "Twice the steps", Steps = Scaled(settings.Steps, 2) }] :
        [
            new("Sketch", "Short, in few steps: to try a prompt", Math.Max(1, units / 2), Scaled(settings.Steps, 0.4), Scaled(settings.VideoSteps, 0.4)),
            new("Standard", "As the model was made for", units, Scaled(settings.Steps, 1), Scaled(settings.VideoSteps, 1)),
            new("Fine", "Twice the steps, twice the time", units, Scaled(settings.Steps, 2), Scaled(settings.VideoSteps, 2)),
            .. stills,
        ];
    }

    /// <summary>Whether a form stands as it says.</summary>
    public bool Matches(Draft draft) => draft.Length == Units && draft.Steps == Steps && draft.VideoSteps == VideoSteps;

    /// <summary>Sets a form so.</summary>
    public void Apply(Draft draft) => (draft.Units, draft.Steps, draft.VideoSteps) = (Units, Steps, VideoSteps);

    private static string Scaled(IReadOnlyList<int> steps, double by) => Draft.Text([.. steps.Select(count => Math.Max(1, (int)Math.Round(count * by)))]);
}
