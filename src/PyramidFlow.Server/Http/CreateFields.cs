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
        if (fields.Whole("n") is not (null or 1))
            throw new JobException(JobFault.Invalid, "n is 1: a request asks for one video, so send one for each") { Parameter = "n" };
        var size = fields.Size("size");
        var settings = (((fields.Text("model") ?? model) is { } name ? ModelCatalog.Among(models, name) : null) ?? models.FirstOrDefault())?.Settings;
        var stages = settings?.Steps.Count ?? 1;
        var (steps, guidance) = (fields.Steps("num_inference_steps", stages), fields.Number("guidance_scale", "7"));
        return new VideoRequest
        {
            Prompt = fields.Text("prompt") ?? "",
            Schedule = fields.Schedule("prompts"),
            NegativePrompt = fields.Text("negative_prompt"),
            PromptSuffix = fields.Text("prompt_suffix"),
            Model = fields.Text("model"),
            Width = size?.Width,
            Height = size?.Height,
            Frames = fields.Whole("num_frames"),
            Seconds = fields.Number("seconds", "5"),
            FramesPerSecond = fields.Number("fps", "24"),
            Steps = fields.Steps("steps", stages) ?? steps,
            // Later units need fewer steps: as many fewer as the model's own.
            VideoSteps = fields.Steps("video_steps", stages)
                ?? (steps is null || settings is null ? null : [.. steps.Zip(settings.Steps, settings.VideoSteps).Select(stage => (int)Math.Clamp((long)stage.First * stage.Third / stage.Second, 1, int.MaxValue))]),
            Guidance = guidance,
            VideoGuidance = fields.Number("video_guidance_scale", "5") ?? (guidance == 0 ? 0 : null),
            ReusePrefix = fields.Whole("reuse_prefix"),
            GuidanceEvery = fields.Whole("guidance_every"),
            Solver = fields.Solver("solver"),
            Seed = fields.Seed("seed"),
            Input = Input(fields, upload),
        };
    }

    /// <summary>An earlier request with all that a new one says in its place.</summary>
    /// <param name="asked">The new one, read from its fields; null is what they leave out.</param>
    /// <param name="original">The earlier one, every value filled in.</param>
    public static VideoRequest Over(VideoRequest asked, VideoRequest original) => original with
    {
        Prompt = asked.Prompt,
        Schedule = asked.Schedule,
        NegativePrompt = asked.NegativePrompt ?? original.NegativePrompt,
        PromptSuffix = asked.PromptSuffix ?? original.PromptSuffix,
        Model = asked.Model ?? original.Model,
        Width = asked.Width ?? original.Width,
        Height = asked.Height ?? original.Height,
        Frames = asked.Frames,
        Seconds = asked.Seconds,
        FramesPerSecond = asked.FramesPerSecond ?? original.FramesPerSecond,
        Steps = asked.Steps ?? original.Steps,
        VideoSteps = asked.VideoSteps ?? original.VideoSteps,
        Guidance = asked.Guidance ?? original.Guidance,
        VideoGuidance = asked.VideoGuidance ?? original.VideoGuidance,
        ReusePrefix = asked.ReusePrefix ?? original.ReusePrefix,
        GuidanceEvery = asked.GuidanceEvery ?? original.GuidanceEvery,
        Solver = asked.Solver ?? original.Solver,
        Seed = asked.Seed ?? original.Seed,
        RemixedFrom = null,
    };

    private static VideoInput? Input(RequestFields fields, VideoInputKind? upload)
    {
        var (extends, begins) = (fields.Text("extend_video_id"), fields.Text("last_frame_of_video_id"));
        if (new[] { upload is not null, extends is not null, begins is not null }.Count(given => given) > 1)
            throw new JobException(JobFault.Invalid, "input_reference, extend_video_id and last_frame_of_video_id exclude each other: give one of them") { Parameter = "input_reference" };
        return extends is not null ? new VideoInput(VideoInputKind.Video, extends)
            : begins is not null ? new VideoInput(VideoInputKind.Image, begins)
            : upload is { } kind ? new VideoInput(kind) : null;
    }
}
