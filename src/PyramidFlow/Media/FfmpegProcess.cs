using System.ComponentModel;
using System.Diagnostics;
using System.Text;
using System.Text.RegularExpressions;

namespace PyramidFlow.Media;

/// <summary>The ffmpeg and ffprobe programs to run.</summary>
/// <param name="Ffmpeg">Path of ffmpeg, or a name to look up in PATH.</param>
/// <param name="Ffprobe">Path of ffprobe, or a name to look up in PATH.</param>
public sealed record FfmpegTools(string Ffmpeg, string Ffprobe)
{
    /// <summary>Limits of decoding a file.</summary>
    internal DecodeLimits Limits { get; init; } = DecodeLimits.FromEnvironment();

    /// <summary>
    /// The programs set by the environment: <c>PYRAMIDFLOW_FFMPEG</c> (path of ffmpeg, with ffprobe beside it), else both from
    /// PATH.
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

    /// <summary>Reads the version line of ffmpeg, such as "ffmpeg version 5.1.9".</summary>
    /// <param name="cancellationToken">Stops ffmpeg.</param>
    /// <exception cref="MediaException">ffmpeg is missing or does not run.</exception>
    public async Task<string> ReadVersionAsync(CancellationToken cancellationToken = default)
    {
        await using var process = FfmpegProcess.Start(Ffmpeg, ["-version"], cancellationToken);
        var text = await process.ReadAllTextAsync().ConfigureAwait(false);
        await process.WaitAsync("ffmpeg -version failed").ConfigureAwait(false);
        return text.Split('\n')[0].Split(" Copyright")[0].Trim();
    }
}

/// <summary>A run of ffmpeg or ffprobe: without a shell, with bounded error output, killed on cancellation and on dispose.</summary>
internal sealed class FfmpegProcess : IAsyncDisposable
{
    /// <summary>Maximum length of the text output of a program, in bytes.</summary>
    public const int MaxTextBytes = 16 << 20;

    private static readonly TimeSpan PollInterval = TimeSpan.FromMilliseconds(200);
    private readonly Process process;
    private readonly Task errorPump;
    private readonly CancellationToken cancellationToken;
    private readonly CancellationTokenRegistration registration;
    private readonly DecodeBudget? budget;
    private long counted = Environment.TickCount64;

    private FfmpegProcess(Process process, DecodeBudget? budget, CancellationToken cancellationToken)
    {
        this.process = process;
        this.budget = budget;
        this.cancellationToken = cancellationToken;
        budget?.Limits.Apply(process.Id);
        errorPump = PumpErrorsAsync();
        registration = cancellationToken.Register(Kill);
    }

    /// <summary>Standard input of the program; closing it ends the input.</summary>
    public Stream Input => process.StandardInput.BaseStream;

    /// <summary>Standard output of the program.</summary>
    public Stream Output => process.StandardOutput.BaseStream;

    /// <summary>The end of standard error; complete after <see cref="WaitAsync"/> or <see cref="ExitCodeAsync"/>.</summary>
    public ErrorOutput Errors { get; } = new();

    /// <summary>Starts a program.</summary>
    /// <param name="program">Path or name of the program.</param>
    /// <param name="arguments">Arguments of the program.</param>
    /// <param name="cancellationToken">Kills the program.</param>
    /// <param name="budget">Limits for decoding an untrusted file; null for trusted files.</param>
    /// <exception cref="MediaException">The program is missing or cannot be run.</exception>
    public static FfmpegProcess Start(string program, IEnumerable<string> arguments, CancellationToken cancellationToken, DecodeBudget? budget = null)
    {
        cancellationToken.ThrowIfCancellationRequested();
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        start.Environment["AV_LOG_FORCE_NOCOLOR"] = "1";
        // A speech library that ffmpeg loads reserves memory for each core, and retries without end if there is not enough.
        if (budget is not null)
            start.Environment["OMP_NUM_THREADS"] = start.Environment["OPENBLAS_NUM_THREADS"] = "1";
        try
        {
            return new FfmpegProcess(Process.Start(start)!, budget, cancellationToken);
        }
        catch (Win32Exception e)
        {
            var name = Path.GetFileName(program).Contains("probe", StringComparison.Ordinal) ? "ffprobe" : "ffmpeg";
            throw MediaFault.ProgramMissing(name, Path.IsPathRooted(program) ? program : null, e);
        }
    }

    /// <summary>Copies a stream to standard input and closes it. A program that stops reading is not an error here.</summary>
    public async Task FeedAsync(Stream source)
    {
        try
        {
            await source.CopyToAsync(Input, cancellationToken).ConfigureAwait(false);
            Input.Close();
        }
        catch (IOException) when (!cancellationToken.IsCancellationRequested)
        {
            // A decoder closes its input after the first picture; its exit code tells whether it succeeded.
        }
    }

    /// <summary>Waits for the next result of the program, such as a frame.</summary>
    /// <exception cref="MediaException">The budget is exceeded; the program is killed.</exception>
    public async Task<T> WithinBudgetAsync<T>(Task<T> step)
    {
        if (budget is not null)
            await WatchAsync(step).ConfigureAwait(false);
        return await step.ConfigureAwait(false);
    }

    /// <summary>Reads all of standard output as UTF-8.</summary>
    /// <param name="input">Standard input, or null.</param>
    /// <exception cref="MediaException">The output is longer than <see cref="MaxTextBytes"/>, or the budget is exceeded.</exception>
    public async Task<string> ReadAllTextAsync(Stream? input = null)
    {
        var feeding = FeedAsync(input ?? Stream.Null);
        using var text = new MemoryStream();
        var buffer = new byte[1 << 16];
        while (await WithinBudgetAsync(Output.ReadAsync(buffer, cancellationToken).AsTask()).ConfigureAwait(false) is var read and not 0)
        {
            if (text.Length + read > MaxTextBytes)
                throw MediaFault.TooMuchSaid(MaxTextBytes);
            text.Write(buffer, 0, read);
        }

        await feeding.ConfigureAwait(false);
        return Encoding.UTF8.GetString(text.GetBuffer(), 0, (int)text.Length);
    }

    /// <summary>Waits for the program to exit and for the end of its error output.</summary>
    /// <exception cref="OperationCanceledException">The token of <see cref="Start"/> was cancelled.</exception>
    public async Task<int> ExitCodeAsync()
    {
        if (budget is not null)
            await WatchAsync(process.WaitForExitAsync(CancellationToken.None)).ConfigureAwait(false);
        await process.WaitForExitAsync(CancellationToken.None).ConfigureAwait(false);
        await errorPump.ConfigureAwait(false);
        cancellationToken.ThrowIfCancellationRequested();
        return process.ExitCode;
    }

    /// <summary>Waits for the program to exit; throws an error of <paramref name="failure"/> and the error output if it failed.</summary>
    public async Task WaitAsync(string failure)
    {
        if (await ExitCodeAsync().ConfigureAwait(false) != 0)
            throw MediaFault.ProgramFailed(failure, Errors);
    }

    /// <summary>Kills the program.</summary>
    public void Kill()
    {
        try
        {
            process.Kill();
        }
        catch (InvalidOperationException)
        {
            // It has already exited.
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

    // Counts CPU time, so that a busy machine accepts the same files as an idle one.
    private async Task WatchAsync(Task step)
    {
        var (before, started) = (step.IsCompleted ? null : CpuTime(), Environment.TickCount64);
        try
        {
            while (!step.IsCompleted && await Task.WhenAny(step, Task.Delay(PollInterval, CancellationToken.None)).ConfigureAwait(false) != step)
            {
                Count(before ?? TimeSpan.Zero);
                if (Environment.TickCount64 - started > budget!.Limits.Stall.TotalMilliseconds)
                    throw budget.Stuck();
            }

            // Short steps add up as well.
            if (Environment.TickCount64 - counted > PollInterval.TotalMilliseconds)
                Count(null);
        }
        catch (MediaException)
        {
            Kill();
            throw;
        }
    }

    // Counts the CPU time of the current step since its start; null ends the step.
    private void Count(TimeSpan? before)
    {
        counted = Environment.TickCount64;
        if (CpuTime() is { } used)
            budget!.Check(used, before ?? used);
    }

    // CPU time of the program; null after it has exited.
    private TimeSpan? CpuTime()
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

/// <summary>The last lines of the error output of a program, bounded in size.</summary>
internal sealed partial class ErrorOutput
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

    /// <summary>Whether the output reports a lack of memory.</summary>
    public bool ReportOutOfMemory => Contains("Cannot allocate memory") || Contains("get_buffer() failed") || Contains("Failed to allocate") || Contains("bad_alloc");

    /// <summary>The size, such as "640x384", of a picture that ffmpeg refused as too large; null if it refused none.</summary>
    public string? OversizedPicture() =>
        lines.Select(line => TooManyPixels().Match(line)).LastOrDefault(match => match.Success)?.Groups[1].Value;

    /// <summary>The last two lines, joined.</summary>
    public override string ToString() => IsEmpty ? "it gave no reason" : string.Join("; ", lines.TakeLast(2));

    [GeneratedRegex(@"Picture size ([1-9]\d*x[1-9]\d*) (exceeds|is invalid)")]
    private static partial Regex TooManyPixels();

    // A prefix such as "[h264 @ 0x55e06b29e280] " means nothing to the user.
    [GeneratedRegex(@"^(\[[^\]]* @ 0x[0-9a-f]+\]\s*)+")]
    private static partial Regex ComponentPrefix();
}
