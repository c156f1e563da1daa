namespace PyramidFlow.Media;

/// <summary>Which ffmpeg and ffprobe to run.</summary>
/// <param name="Ffmpeg">Path of ffmpeg, or a name that is looked up in PATH.</param>
/// <param name="Ffprobe">Path of ffprobe, or a name that is looked up in PATH.</param>
public sealed record FfmpegTools(string Ffmpeg, string Ffprobe)
{
    /// <summary>What decoding a file may cost.</summary>
    internal DecodeLimits Limits { get; init; } = DecodeLimits.FromEnvironment();

    /// <summary>
    /// What the environment names: <c>PYRAMIDFLOW_FFMPEG</c> (the ffmpeg program, with ffprobe beside it), else both from PATH.
    /// </summary>
    public static FfmpegTools FromEnvironment() => From(Environment.GetEnvironmentVariable("PYRAMIDFLOW_FFMPEG"));

    internal static FfmpegTools From(string? named)
    {
        if (string.IsNullOrEmpty(named))
            return new FfmpegTools("ffmpeg", "ffprobe");
        var folder = Path.GetDirectoryName(named);
        var probe = Path.GetFileName(named).Replace("ffmpeg", "ffprobe", StringComparison.Ordinal);
        return new FfmpegTools(named, string.IsNullOrEmpty(folder) ? probe : Path.Combine(folder, probe));
    }

    /// <summary>ffmpeg's version line, such as "ffmpeg version 5.1.9".</summary>
    /// <param name="ct">Stops the program.</param>
    /// <exception cref="MediaException">ffmpeg is missing or does not run.</exception>
    public async Task<string> ReadVersionAsync(CancellationToken ct = default)
    {
        await using var process = FfmpegProcess.Start(Ffmpeg, ["-version"], ct);
        var text = await process.ReadAllTextAsync().ConfigureAwait(false);
        await process.WaitAsync("ffmpeg -version failed").ConfigureAwait(false);
        return text.Split('\n')[0].Split(" Copyright")[0].Trim();
    }
}
