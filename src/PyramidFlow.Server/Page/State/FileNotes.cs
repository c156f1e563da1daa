using Microsoft.AspNetCore.Components.Forms;
using Microsoft.JSInterop;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Page.State;

/// <summary>The notes of this program in a file that a user has chosen, and the request they stand for.</summary>
internal static class FileNotes
{
    // Notes of this program stand before the frames, so that the beginning of a file is enough.
    private const int MostBytes = 4 << 20;

    /// <summary>Whether a fault of reading a user's file lies in the file or on the way from the browser: it was changed, moved or locked since it was chosen, or the connection broke.</summary>
    public static bool IsUnreadable(Exception fault) => fault is IOException or UnauthorizedAccessException or JSException or TimeoutException;

    /// <summary>Reads the notes; null where there are none of ours.</summary>
    /// <param name="file">A picture or video of the user.</param>
    /// <param name="mostBytes">Size of the largest file.</param>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static async Task<GenerationNotes?> ReadAsync(IBrowserFile file, long mostBytes)
    {
        if (file.Size > mostBytes)
            return null;
        try
        {
            await using var stream = file.OpenReadStream(mostBytes);
            var bytes = new byte[Math.Min(file.Size, MostBytes)];
            var length = await stream.ReadAtLeastAsync(bytes, bytes.Length, throwOnEndOfStream: false);
            return NotesIn(new MemoryStream(bytes, 0, length));
        }
        catch (Exception e) when (e is InvalidDataException or MalformedTextException)
        {
            return null;
        }
    }

    // A GIF has its notes at its end, which is beyond the beginning of a large one.
    private static GenerationNotes? NotesIn(MemoryStream start)
    {
        try
        {
            return MediaMetadata.ReadStart(start) is { } texts ? GenerationNotes.Read(texts) : null;
        }
        catch (EndOfStreamException)
        {
            return null;
        }
    }

    /// <summary>The model of a file; null where it is not here.</summary>
    public static VideoModel? ModelOf(GenerationNotes notes, IEnumerable<VideoModel> models) =>
        models.FirstOrDefault(model => Path.GetFileName(Path.TrimEndingDirectorySeparator(model.Folder)) == notes.Model && (model.Variant ?? "") == notes.Variant);

    /// <summary>The request that makes a file again, as far as the service can.</summary>
    /// <param name="notes">The notes.</param>
    /// <param name="model">The model to make it with.</param>
    /// <param name="loras">Names of the LoRAs that fit it; others are left out.</param>
    public static VideoRequest RequestOf(GenerationNotes notes, VideoModel model, IReadOnlyList<string> loras)
    {
        var used = (notes.Loras ?? []).Select(lora => new LoraUse(Path.GetFileNameWithoutExtension(lora.File), lora.Weight)).Where(lora => loras.Contains(lora.Path)).ToList();
        return SettingsTable.Over(new VideoRequest
        {
            Model = model.Id,
            Input = notes.Image is not null ? new VideoInput(VideoInputKind.Image) : notes.Video is not null || notes.Latents is not null ? new VideoInput(VideoInputKind.Video) : null,
        }, notes.Options) with { Loras = used.Count > 0 ? used : null };
    }
}
