using System.ComponentModel;
using System.Diagnostics;

namespace PyramidFlow.Media;

/// <summary>One run of ffmpeg or ffprobe: no shell, its error output kept short, killed on cancellation and on dispose.</summary>
internal sealed class FfmpegProcess : IAsyncDisposable
{
    private readonly Process process;
    private readonly Task errorPump;
    private readonly CancellationToken ct;
    private readonly CancellationTokenRegistration registration;

    private FfmpegProcess(Process process, CancellationToken ct)
    {
        this.process = process;
        this.ct = ct;
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
    /// <exception cref="MediaException">It is not there or cannot be run.</exception>
    public static FfmpegProcess Start(string program, IEnumerable<string> arguments, CancellationToken ct)
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
        try
        {
            return new FfmpegProcess(Process.Start(start)!, ct);
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

    /// <summary>All of standard output as UTF-8.</summary>
    public async Task<string> ReadAllTextAsync()
    {
        Input.Close();
        return await process.StandardOutput.ReadToEndAsync(ct).ConfigureAwait(false);
    }

    /// <summary>Waits for the end of the program and of its error output.</summary>
    /// <exception cref="OperationCanceledException">The token given at the start was cancelled.</exception>
    public async Task<int> ExitCodeAsync()
    {
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
        process.Dispose();
    }

    private async Task PumpErrorsAsync()
    {
        while (await process.StandardError.ReadLineAsync(CancellationToken.None).ConfigureAwait(false) is { } line)
            Errors.Add(line);
    }
}
