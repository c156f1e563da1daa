using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>From the fields of a request to what it asks for.</summary>
internal static class CreateFields
{
    /// <summary>What is asked for.</summary>
    /// <param name="fields">Fields of the body, those of extra_params among them.</param>
    /// <param name="upload">Kind of the file that came; null is none.</param>
    /// <param name="models">Models there are.</param>
    /// <param name="model">Model of a request whose fields name none; null takes the default.</param>
    /// <exception cref="JobException">A field is of another form than it should be.</exception>
    public static VideoRequest Read(RequestFields fields, VideoInputKind? upload, IReadOnlyList<VideoModel> models, string? model = null)
    {
        var request = new VideoRequest { Model = fields.Text("model"), Input = Input(fields, upload), Webhook = fields.Text("webhook") };
        foreach (var setting in SettingsTable.All.Where(setting => setting.Field is not null))
            request = fields.Read(setting.Field!, setting, request);
        return WithHabits(request, fields.Read(KnownFields.InferenceSteps, SettingsTable.Find("steps")!, new VideoRequest()).Steps, Settings(models, request.Model ?? model));
    }

    /// <summary>An earlier request with all that a new one says in its place; the prompt, the length and the webhook are always those of the new one.</summary>
    /// <param name="asked">The new one, read from its fields; null is what they leave out.</param>
    /// <param name="original">The earlier one, every value filled in.</param>
    public static VideoRequest Over(VideoRequest asked, VideoRequest original) =>
        SettingsTable.Over(asked, original with { Prompt = null, Schedule = [], Frames = null, Seconds = null, Group = null }) with { Model = asked.Model ?? original.Model, Webhook = asked.Webhook };

    // What clients of other services expect: one number of steps, of which later units take fewer as the model does, and one scale that turns guidance off.
    private static VideoRequest WithHabits(VideoRequest request, IReadOnlyList<int>? steps, PipelineSettings? settings)
    {
        if (steps is [var every] && settings is not null)
            steps = [.. Enumerable.Repeat(every, settings.Steps.Count)];
        return request with
        {
            Steps = request.Steps ?? steps,
            VideoSteps = request.VideoSteps ?? (steps is null || settings is null ? null
                : [.. steps.Zip(settings.Steps, settings.VideoSteps).Select(stage => (int)Math.Clamp((long)stage.First * stage.Third / stage.Second, 1, int.MaxValue))]),
            VideoGuidance = request.VideoGuidance ?? (request.Guidance == 0 ? 0 : null),
        };
    }

    private static PipelineSettings? Settings(IReadOnlyList<VideoModel> models, string? name) =>
        ((name is null ? null : ModelCatalog.Among(models, name)) ?? models.FirstOrDefault())?.Settings;

    private static VideoInput? Input(RequestFields fields, VideoInputKind? upload)
    {
        var (extends, begins) = (fields.Text("extend_video_id"), fields.Text("last_frame_of_video_id"));
        if (new[] { upload is not null, extends is not null, begins is not null }.Count(given => given) > 1)
            throw ServiceFault.TwoInputs();
        return extends is not null ? new VideoInput(VideoInputKind.Video, extends)
            : begins is not null ? new VideoInput(VideoInputKind.Image, begins)
            : upload is { } kind ? new VideoInput(kind) : null;
    }
}
