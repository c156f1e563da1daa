using PyramidFlow.Cli.Models;
using PyramidFlow.Models;
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
        var notes = GenerationNotes.Of(Path.GetFileName(folder.Root), model.Variant ?? folder.Variants[0], plan.Request, model.Options(), loras);
        return notes with
        {
            Image = Path.GetFileName(clip.ImageFile),
            ImageSha256 = clip.ImageFile is { } image ? GenerationNotes.Sha256(image) : null,
            Video = Path.GetFileName(clip.VideoFile),
            Latents = Path.GetFileName(clip.LatentsFile),
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
    public static ClipArguments ToClip(this GenerationNotes notes) => SettingsTable.Over(new ClipArguments(), notes.Options) with
    {
        // Nothing a file says leads out of the folders that are looked in.
        ImageFile = Path.GetFileName(notes.Image),
        LatentsFile = Path.GetFileName(notes.Latents),
    };
}
