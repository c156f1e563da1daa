using System.Security.Cryptography;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Worker;

/// <summary>Checks what is asked for against its model and the service's limits, before anything is decoded or computed.</summary>
/// <param name="catalog">Finds the model.</param>
/// <param name="loras">Finds the LoRAs.</param>
/// <param name="limits">What users may ask for.</param>
/// <param name="webhooks">Where the end of a video may be announced.</param>
internal sealed class RequestCheck(ModelCatalog catalog, LoraCatalog loras, ServerLimits limits, WebhookRules webhooks)
{
    private const int MostGuidance = 100, MostLoraWeight = 100;

    /// <summary>The request with every value filled in.</summary>
    /// <exception cref="JobException">It cannot be made; says what could be.</exception>
    public VideoRequest Complete(VideoRequest request)
    {
        var model = catalog.Find(request.Model);
        CheckTexts(request);
        if (request.Webhook is { } url)
            webhooks.Check(url);
        CheckNumbers(request);
        CheckLoras(request.Loras ?? [], model);
        var settings = model.Settings;
        request = request with { Model = model.Id, Seed = request.Seed ?? (ulong)RandomNumberGenerator.GetInt32(int.MaxValue) };
        var resolved = Resolve(request with { Conditioning = Conditioning(request.Input) }, settings);
        var frames = resolved.Options.Frames!.Value;
        if (frames > limits.Frames)
            throw ServiceFault.FramesBeyondLimit(request.Frames is null ? "seconds" : "num_frames", frames, limits.Frames);
        if (resolved.Width % 2 != 0 || resolved.Height % 2 != 0)
            throw ServiceFault.SizeOdd();
        return (VideoRequest)resolved.Options with
        {
            Conditioning = null,
            Loras = request.Loras is { Count: > 0 } ? request.Loras : null,
            // The echo of the job has it, and nothing else: the number of frames is known.
            Seconds = SecondsOf(request.Input, frames, settings),
        };
    }

    /// <summary>Seconds that are made, as the echo of a job has them.</summary>
    public static double SecondsOf(VideoInput? input, int frames, PipelineSettings settings) => Math.Round((input?.Kind == VideoInputKind.Video ? frames : frames - 1) / settings.FramesPerSecond, 2);

    /// <summary>Checks a prompt that takes over while a video is made.</summary>
    /// <exception cref="JobException">It is empty or too long.</exception>
    public void CheckPrompt(string? prompt)
    {
        if (string.IsNullOrWhiteSpace(prompt))
            throw ServiceFault.ChangeWithoutPrompt();
        CheckTexts(new VideoRequest { Prompt = prompt });
    }

    private void CheckTexts(VideoRequest request)
    {
        foreach (var (setting, text) in SettingsTable.Texts(request))
        {
            if (text.Length > limits.PromptLength)
                throw ServiceFault.TextTooLong(setting.Field!, text.Length, limits.PromptLength);
        }
    }

    private void CheckNumbers(VideoRequest request)
    {
        if (request.FramesPerUnit > limits.FramesPerUnit)
            throw ServiceFault.FramesPerUnitBeyondLimit(request.FramesPerUnit.Value, limits.FramesPerUnit);
        foreach (var (name, steps) in new[] { ("steps", request.Steps), ("video_steps", request.VideoSteps) })
        {
            if (steps?.FirstOrDefault(count => count > limits.Steps || count < 1) is { } wrong and not 0 || steps?.Contains(0) == true)
                throw ServiceFault.StepsBeyondLimit(name, limits.Steps);
        }

        foreach (var (name, scale) in new[] { ("guidance_scale", request.Guidance), ("video_guidance_scale", request.VideoGuidance) })
        {
            if (scale is { } value && !(value is >= 0 and <= MostGuidance))
                throw ServiceFault.GuidanceBeyondLimit(name, MostGuidance);
        }
    }

    private void CheckLoras(IReadOnlyList<LoraUse> named, VideoModel model)
    {
        if (named.Count > limits.Loras)
            throw ServiceFault.TooManyLoras(limits.Loras);
        loras.Check(named, model);
        if (named.FirstOrDefault(lora => !(Math.Abs(lora.Weight) <= MostLoraWeight)) is { } heavy)
            throw ServiceFault.LoraWeightBeyondLimit(heavy.Path, heavy.Weight, MostLoraWeight);
    }

    // Of the input only the kind is known, before the upload is read. The length of a video changes nothing that is checked, so 1 frame stands for it.
    private static ConditioningInput? Conditioning(VideoInput? input) => input?.Kind switch
    {
        VideoInputKind.Image => ConditioningInput.Image,
        VideoInputKind.Video => ConditioningInput.Video(1),
        _ => null,
    };

    private static GenerationSettings Resolve(GenerationOptions request, PipelineSettings settings)
    {
        try
        {
            return request.Resolve(settings);
        }
        catch (RequestException e)
        {
            throw ServiceFault.Request(e, e.Setting is { } setting ? SettingsTable.Find(setting)?.Field : null);
        }
    }
}
