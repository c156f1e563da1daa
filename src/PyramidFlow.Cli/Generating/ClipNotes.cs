using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Generation;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Cli.Generating;

/// <summary>Between clips of the command line and the notes in their files.</summary>
internal static class ClipNotes
{
    /// <summary>The notes of a plan.</summary>
    public static GenerationNotes Of(GenerationPlan plan, CheckpointFolder folder, ModelArguments model)
    {
        var clip = plan.Clip;
        var loras = (model.Loras ?? []).Select(lora => new NotedLora(Path.GetFileName(lora.Path), lora.Weight, lora.Sha256)).ToList();
        var notes = GenerationNotes.Of(Path.GetFileName(folder.Root), model.Variant ?? folder.Variants[0], plan.Request, plan.FramesPerSecond, model.Options(), loras);
        return notes with
        {
            Image = Path.GetFileName(clip.Image),
            ImageSha256 = clip.Image is { } image ? GenerationNotes.Sha256(image) : null,
            Video = Path.GetFileName(clip.Video),
            Latents = Path.GetFileName(clip.Latents),
        };
    }

    /// <summary>The notes in a file, or null when there are none of ours.</summary>
    /// <exception cref="UsageException">They are ours, but damaged.</exception>
    public static async Task<GenerationNotes?> ReadAsync(string path, CancellationToken cancel)
    {
        try
        {
            return GenerationNotes.Read(await MediaMetadata.ReadAsync(path, cancel).ConfigureAwait(false));
        }
        catch (MalformedTextException e)
        {
            throw new UsageException($"what {path} says about itself is damaged, so it cannot be made again from that: {e.Message}", e);
        }
    }

    /// <summary>The arguments that make the same clip again. Pictures and latents are named without a folder.</summary>
    public static ClipArguments ToClip(this GenerationNotes notes) => new()
    {
        Prompt = notes.Prompt,
        Later = notes.Prompts is { Count: > 0 } prompts ? [.. prompts.Select(prompt => new PromptChange(prompt.From, prompt.Prompt))] : null,
        // Nothing a file says leads out of the folders that are looked in.
        Image = Path.GetFileName(notes.Image),
        Latents = Path.GetFileName(notes.Latents),
        NewOnly = notes.NewOnly,
        History = notes.History,
        Frames = notes.Frames,
        FramesPerSecond = notes.Fps is >= 1 and <= 240 ? notes.Fps : null,
        Size = notes is { Width: { } width, Height: { } height } ? new FrameSize(width, height) : null,
        Steps = notes.Steps,
        VideoSteps = notes.VideoSteps,
        Guidance = notes.Guidance,
        VideoGuidance = notes.VideoGuidance,
        LinearGuidance = notes.LinearGuidance is [var alpha, var minimum] ? (alpha, minimum) : null,
        FramesPerUnit = notes.FramesPerUnit,
        ReusePrefix = notes.ReusePrefix,
        GuidanceEvery = notes.GuidanceEvery,
        Solver = notes.Solver,
        SampleImage = notes.SampleImage,
        Negative = notes.NegativePrompt,
        Suffix = notes.PromptSuffix,
        Seed = notes.Seed,
    };
}
