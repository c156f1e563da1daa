namespace PyramidFlow.Media;

/// <summary>Changes the metadata texts of a video that is written already; its frames are copied as they are.</summary>
internal static class VideoTexts
{
    /// <summary>Replaces title and metadata of an .mp4.</summary>
    /// <param name="path">The video.</param>
    /// <param name="options">The texts; rate and quality stay those of the file.</param>
    /// <param name="cancellationToken">Stops it; the file then stays as it was.</param>
    /// <exception cref="MediaException">The file cannot be read or written.</exception>
    internal static async Task ReplaceAsync(string path, VideoWriterOptions options, CancellationToken cancellationToken)
    {
        using var file = PartialFile.Create(path);
        IEnumerable<string> texts = VideoMetadata.Texts(options).SelectMany(text => (string[])["-metadata", $"{text.Key}={text.Value}"]);
        await using var process = FfmpegProcess.Start(FfmpegTools.FromEnvironment().Ffmpeg,
            ["-v", "error", "-y", "-i", "file:" + path, "-map", "0", "-c", "copy", "-map_metadata", "-1", "-movflags", "+faststart+use_metadata_tags", .. texts, "-f", "mp4", "file:" + file.Path], cancellationToken);
        process.Input.Close();
        if (await process.ExitCodeAsync().ConfigureAwait(false) != 0 || !process.Errors.IsEmpty)
            throw MediaFault.NotWritten(path, process.Errors);
        file.Commit();
    }
}
