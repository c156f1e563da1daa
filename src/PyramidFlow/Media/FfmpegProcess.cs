using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

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

/// <summary>One run of ffmpeg or ffprobe: no shell, its error output kept short, killed on cancellation and on dispose.</summary>
internal sealed class FfmpegProcess : IAsyncDisposable
{
    /// <summary>The longest text that is read from a program, bytes.</summary>
    public const int MostText = 16 << 20;

    private static readonly TimeSpan Look = TimeSpan.FromMilliseconds(200);
    private readonly Process process;
    private readonly Task errorPump;
    private readonly CancellationToken ct;
    private readonly CancellationTokenRegistration registration;
    private readonly DecodeBudget? budget;
    private long counted = Environment.TickCount64;

    private FfmpegProcess(Process process, DecodeBudget? budget, CancellationToken ct)
    {
        this.process = process;
        this.budget = budget;
        this.ct = ct;
        budget?.Limits.Apply(process.Id);
        errorPump = PumpErrorsAsync();
        registration = ct.Register(Kill);
    }

    /// <summary>The program's standard input; close it to tell the program that this was all.</summary>
    public Stream Input => process.StandardInput.BaseStream;

    /// <summary>The program's standard output.</summary>
    public Stream Output => process.StandardOutput.BaseStream;

    /// <summary>What it said on standard error; complete after <see cref="WaitAsync"/> or <see cref="ExitCodeAsync"/>.</summary>
    public LastLines Errors { get; } = new();

    /// <summary>Starts a program.</summary>
    /// <param name="program">Path or name.</param>
    /// <param name="arguments">Its arguments.</param>
    /// <param name="ct">Ends it.</param>
    /// <param name="budget">What it may cost when it decodes a file of a stranger; null for files of our own.</param>
    /// <exception cref="MediaException">It is not there or cannot be run.</exception>
    public static FfmpegProcess Start(string program, IEnumerable<string> arguments, CancellationToken ct, DecodeBudget? budget = null)
    {
        ct.ThrowIfCancellationRequested();
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["AV_LOG_FORCE_NOCOLOR"] = "1";
        // A library for speech that ffmpeg loads sets memory aside for each core, and tries without end when there is none.
        if (budget is not null)
            start.Environment["OMP_NUM_THREADS"] = start.Environment["OPENBLAS_NUM_THREADS"] = "1";
        try
        {
            return new FfmpegProcess(Process.Start(start)!, budget, ct);
        }
        catch (Win32Exception e)
        {
            var where = Path.IsPathRooted(program) ? $" at {program}" : "";
            var name = Path.GetFileName(program).Contains("probe", StringComparison.Ordinal) ? "ffprobe" : "ffmpeg";
            throw new MediaException(
                $"{name} was not found{where}: install it with 'apt install ffmpeg' or set PYRAMIDFLOW_FFMPEG", e);
        }
    }

    /// <summary>Feeds the program from a stream and closes its input; a program that stops listening is no error here.</summary>
    public async Task FeedAsync(Stream source)
    {
        try
        {
            await source.CopyToAsync(Input, ct).ConfigureAwait(false);
            Input.Close();
        }
        catch (IOException) when (!ct.IsCancellationRequested)
        {
            // A decoder closes its end after the first picture; its exit code tells whether that was right.
        }
    }

    /// <summary>Waits for the next thing the program gives, such as a frame.</summary>
    /// <exception cref="MediaException">It took more work than the budget allows; the program is ended.</exception>
    public async Task<T> WithinBudgetAsync<T>(Task<T> step)
    {
        if (budget is not null)
            await WatchAsync(step).ConfigureAwait(false);
        return await step.ConfigureAwait(false);
    }

    /// <summary>All of standard output as UTF-8.</summary>
    /// <param name="input">What to feed it; null for nothing.</param>
    /// <exception cref="MediaException">It is longer than <see cref="MostText"/>, or the budget is spent.</exception>
    public async Task<string> ReadAllTextAsync(Stream? input = null)
    {
        var feeding = FeedAsync(input ?? Stream.Null);
        using var text = new MemoryStream();
        var buffer = new byte[1 << 16];
        while (await WithinBudgetAsync(Output.ReadAsync(buffer, ct).AsTask()).ConfigureAwait(false) is var read and not 0)
        {
            if (text.Length + read > MostText)
                throw new MediaException($"a file says more than {MostText >> 20} MiB about itself: write it anew without its texts (ffmpeg -i in -map_metadata -1 -c copy out)");
            text.Write(buffer, 0, read);
        }

        await feeding.ConfigureAwait(false);
        return Encoding.UTF8.GetString(text.GetBuffer(), 0, (int)text.Length);
    }

    /// <summary>Waits for the end of the program and of its error output.</summary>
    /// <exception cref="OperationCanceledException">The token given at the start was cancelled.</exception>
    public async Task<int> ExitCodeAsync()
    {
        if (budget is not null)
            await WatchAsync(process.WaitForExitAsync(CancellationToken.None)).ConfigureAwait(false);
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        await errorPump.ConfigureAwait(false);
        ct.ThrowIfCancellationRequested();
        return process.ExitCode;
    }

    /// <summary>Waits for the end; a failure becomes an error made of <paramref name="failure"/> and its last words.</summary>
    public async Task WaitAsync(string failure)
    {
        if (await ExitCodeAsync().ConfigureAwait(false) != 0)
            throw new MediaException($"{failure}: {Errors}");
    }

    /// <summary>Ends the program now.</summary>
    public void Kill()
    {
        try
        {
            process.Kill();
        }
        catch (InvalidOperationException)
        {
            // It had ended by itself.
        }
    }

    public async ValueTask DisposeAsync()
    {
        await registration.DisposeAsync().ConfigureAwait(false);
        Kill();
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        await errorPump.ConfigureAwait(false);
        budget?.End();
        process.Dispose();
    }

    // Work is counted on the processor, so that a busy machine refuses nothing that an idle one reads.
    private async Task WatchAsync(Task step)
    {
        var (before, started) = (step.IsCompleted ? null : Work(), Environment.TickCount64);
        try
        {
            while (!step.IsCompleted && await Task.WhenAny(step, Task.Delay(Look, CancellationToken.None)).ConfigureAwait(false) != step)
            {
                Count(before ?? TimeSpan.Zero);
                if (Environment.TickCount64 - started > budget!.Limits.Stall.TotalMilliseconds)
                    throw budget.Stuck();
            }

            // Steps that are quick add up all the same.
            if (Environment.TickCount64 - counted > Look.TotalMilliseconds)
                Count(null);
        }
        catch (MediaException)
        {
            Kill();
            throw;
        }
    }

    // What the step took so far counts from what was used before it; null is at its end.
    private void Count(TimeSpan? before)
    {
        counted = Environment.TickCount64;
        if (Work() is { } used)
            budget!.Check(used, before ?? used);
    }

    // Null when it has ended.
    private TimeSpan? Work()
    {
        try
        {
            return process.TotalProcessorTime;
        }
        catch (Exception e) when (e is InvalidOperationException or Win32Exception or IOException)
        {
            return null;
        }
    }

    private async Task PumpErrorsAsync()
    {
        while (await process.StandardError.ReadLineAsync(CancellationToken.None).ConfigureAwait(false) is { } line)
            Errors.Add(line);
    }
}

/// <summary>The end of a program's error output: bounded, however much it prints.</summary>
internal sealed partial class LastLines
{
    private const int MaxLines = 20;
    private const int MaxLineLength = 400;
    private readonly Queue<string> lines = [];

    public bool IsEmpty => lines.Count == 0;

    public void Add(string line)
    {
        line = ComponentPrefix().Replace(line, "").Trim();
        if (line.Length == 0 || line is "Conversion failed!")
            return;
        lines.Enqueue(line.Length <= MaxLineLength ? line : line[..MaxLineLength] + "...");
        if (lines.Count > MaxLines)
            lines.Dequeue();
    }

    public bool Contains(string text) => lines.Any(line => line.Contains(text, StringComparison.OrdinalIgnoreCase));

    /// <summary>Whether what was said means that memory was not enough.</summary>
    public bool TellOfMemory => Contains("Cannot allocate memory") || Contains("get_buffer() failed") || Contains("Failed to allocate") || Contains("bad_alloc");

    /// <summary>The size, as "640x384", of a picture that was refused for it, if that is what was said.</summary>
    public string? OversizedPicture() =>
        lines.Select(line => TooManyPixels().Match(line)).LastOrDefault(match => match.Success)?.Groups[1].Value;

    /// <summary>The last two lines as one.</summary>
    public override string ToString() => IsEmpty ? "it gave no reason" : string.Join("; ", lines.TakeLast(2));

    [GeneratedRegex(@"Picture size ([1-9]\d*x[1-9]\d*) (exceeds|is invalid)")]
    private static partial Regex TooManyPixels();

    // "[h264 @ 0x55e06b29e280] " says nothing to the user.
    [GeneratedRegex(@"^(\[[^\]]* @ 0x[0-9a-f]+\]\s*)+")]
    private static partial Regex ComponentPrefix();
}
