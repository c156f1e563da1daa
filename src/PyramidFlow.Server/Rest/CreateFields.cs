using PyramidFlow.Server.Jobs;

namespace PyramidFlow.Server.Rest;

/// <summary>From the fields of a request to what it asks for.</summary>
internal static class CreateFields
{
    /// <summary>What is asked for.</summary>
    /// <param name="fields">Fields of the body, those of extra_params among them.</param>
    /// <param name="upload">Kind of the file that came; null is none.</param>
    /// <param name="models">Models there are.</param>
    /// <exception cref="JobException">A field is of another form than it should be.</exception>
    public static VideoRequest Read(RequestFields fields, VideoInputKind? upload, IReadOnlyList<VideoModel> models)
    {
        var size = fields.Size("size");
        var settings = (models.FirstOrDefault(model => model.Id == fields.Text("model")) ?? models.FirstOrDefault())?.Settings;
        var stages = settings?.Steps.Count ?? 1;
        var steps = fields.Steps("num_inference_steps", stages);
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
                ?? (steps is null || settings is null ? null : [.. steps.Zip(settings.Steps, settings.VideoSteps).Select(stage => Math.Max(1, stage.First * stage.Third / stage.Second))]),
            Guidance = fields.Number("guidance_scale", "7"),
            VideoGuidance = fields.Number("video_guidance_scale", "5") ?? (fields.Text("guidance_scale") is "0" ? 0 : null),
            ReusePrefix = fields.Whole("reuse_prefix"),
            GuidanceEvery = fields.Whole("guidance_every"),
            Solver = fields.Solver("solver"),
            Seed = fields.Seed("seed"),
            Input = Input(fields, upload),
        };
    }

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
