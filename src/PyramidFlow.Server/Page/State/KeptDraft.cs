using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Page.State;

/// <summary>
/// A form as the browser keeps it over a reload: all but a file of the user's own, which browsers do not give back. It comes
/// from outside, so that it may hold anything; the form is checked when it is sent. A key that is not there is null, and the form keeps its own
/// value: a server that leaves before the page has kept its whole form leaves only what was written since. Browsers have kept the labelled settings as Sampler.
/// </summary>
internal sealed record KeptDraft(
    string? Model = null, DraftMode Mode = DraftMode.Text, string? Prompt = null, string? NegativePrompt = null, int? Units = null,
    bool? HasOwnSize = null, string? Width = null, string? Height = null,
    string? Steps = null, string? VideoSteps = null, string? Guidance = null, string? VideoGuidance = null, string? Seed = null, bool? KeepsSeed = null,
    IReadOnlyList<PromptChange>? Schedule = null, string? From = null, string? SameInputAs = null, int? Count = null,
    [property: JsonPropertyName("Sampler")] IReadOnlyDictionary<string, string>? Labelled = null)
{
    // Beyond any length: the form's arithmetic stays within its numbers.
    private const int MostUnits = 10_000;

    public static KeptDraft Of(Draft draft, VideoModel? model) => new(
        model?.Id, draft.Mode, draft.Prompt, draft.NegativePrompt, draft.Units, draft.HasOwnSize, draft.Width, draft.Height,
        draft.Steps, draft.VideoSteps, draft.Guidance, draft.VideoGuidance, draft.Seed, draft.KeepsSeed, draft.Schedule, draft.From?.Id, draft.SameInputAs?.Id, draft.Count, draft.Labelled);

    public string ToJson() => JsonSerializer.Serialize(this, KeptDraftJson.Default.KeptDraft);

    /// <summary>What was kept; null when nothing was, or nothing that can be read.</summary>
    public static KeptDraft? FromJson(string? json)
    {
        try
        {
            return string.IsNullOrEmpty(json) ? null : StrictJson.Deserialize(json, KeptDraftJson.Default.KeptDraft);
        }
        catch (MalformedTextException)
        {
            return null;
        }
    }

    /// <summary>Fills a form in.</summary>
    /// <param name="draft">It.</param>
    /// <param name="model">The model that is chosen there; settings of another are not taken over.</param>
    /// <param name="from">The video of <see cref="From"/>; null when it is gone.</param>
    /// <param name="sameInputAs">Likewise of <see cref="SameInputAs"/>.</param>
    public void Restore(Draft draft, VideoModel model, VideoJob? from, VideoJob? sameInputAs)
    {
        (draft.Mode, draft.Prompt, draft.From, draft.SameInputAs) = (Enum.IsDefined(Mode) ? Mode : DraftMode.Text, Prompt ?? draft.Prompt, from, sameInputAs);
        draft.Count = Math.Clamp(Count ?? draft.Count, 1, Draft.MostVideos);
        if (Model is not null && Model != model.Id)
            return;
        (draft.NegativePrompt, draft.Units, draft.Schedule) = (NegativePrompt ?? draft.NegativePrompt, Math.Clamp(Units ?? draft.Units, 0, MostUnits), Schedule ?? []);
        foreach (var setting in Draft.LabelledSettings.Where(setting => Labelled?.ContainsKey(setting.Name) == true))
            draft.Labelled[setting.Name] = Labelled![setting.Name] ?? "";
        (draft.HasOwnSize, draft.Width, draft.Height) = (HasOwnSize ?? draft.HasOwnSize, Width ?? draft.Width, Height ?? draft.Height);
        (draft.Steps, draft.VideoSteps) = (Steps ?? draft.Steps, VideoSteps ?? draft.VideoSteps);
        (draft.Guidance, draft.VideoGuidance) = (Guidance ?? draft.Guidance, VideoGuidance ?? draft.VideoGuidance);
        (draft.Seed, draft.KeepsSeed) = (Seed ?? draft.Seed, KeepsSeed ?? draft.KeepsSeed);
    }
}

[JsonSourceGenerationOptions(RespectNullableAnnotations = true)]
[JsonSerializable(typeof(KeptDraft))]
internal sealed partial class KeptDraftJson : JsonSerializerContext;
