using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;

namespace PyramidFlow.Cli.Tests;

/// <summary>A <c>serve</c> or <c>worker</c> as a process of its own, as its user sees it.</summary>
internal sealed class ServeProcess : IDisposable
{
    // Many times what a busy machine takes.
    private static readonly TimeSpan Patience = TimeSpan.FromMinutes(3);

    private readonly Process process;
    private readonly StringBuilder said = new();
    private readonly TaskCompletionSource<string> ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private ServeProcess(Process process)
    {
        this.process = process;
        process.ErrorDataReceived += (_, line) =>
        {
            lock (said)
                said.AppendLine(line.Data);
        };
        process.OutputDataReceived += (_, line) =>
        {
            if (line.Data is null)
                ready.TrySetException(new InvalidOperationException($"it ended: {Said}"));
            else
                ready.TrySetResult(line.Data);
        };
        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
    }

    /// <summary>What it has written on standard error so far.</summary>
    public string Said
    {
        get
        {
            lock (said)
                return said.ToString();
        }
    }

    /// <summary>Number of the process.</summary>
    public int Id => process.Id;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Starts one.</summary>
    public static ServeProcess Start(params string[] arguments) => Start(ffmpeg: null, arguments);

    /// <summary>Starts one that writes videos with another program than ffmpeg.</summary>
    public static ServeProcess Start(string? ffmpeg, string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(CommandLine).Assembly.Location, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PYRAMIDFLOW_MODELS"] = "";
        start.Environment["OMP_WAIT_POLICY"] = "passive";
        start.Environment.Remove("PYRAMIDFLOW_DATABASE");
        if (ffmpeg is not null)
            start.Environment["PYRAMIDFLOW_FFMPEG"] = ffmpeg;
        return new ServeProcess(Process.Start(start)!);
    }

    /// <summary>The line that says that it has begun.</summary>
    public async Task<string> ReadyAsync()
    {
        await WaitAsync("it has begun", () => ready.Task.IsCompleted, () => Said);
        return await ready.Task;
    }

    /// <summary>A client of a server that has begun.</summary>
    public async Task<HttpClient> ClientAsync() => new() { BaseAddress = new Uri((await ReadyAsync()).Split(' ')[^1]), Timeout = TimeSpan.FromMinutes(3) };

    /// <summary>Waits until it has said something.</summary>
    public Task SaysAsync(string words) => WaitAsync($"it says '{words}'", () =>
    {
        if (Said.Contains(words, StringComparison.Ordinal))
            return true;
        Assert.False(process.HasExited, Said);
        return false;
    }, () => Said);

    /// <summary>Waits until something holds, and fails with what was waited for when that takes minutes.</summary>
    /// <param name="what">What is waited for.</param>
    /// <param name="holds">Whether it is so.</param>
    /// <param name="seen">What there is instead.</param>
    public static Task WaitAsync(string what, Func<bool> holds, Func<string> seen) => WaitAsync(what, () => Task.FromResult(holds()), seen);

    /// <inheritdoc cref="WaitAsync(string, Func{bool}, Func{string})"/>
    public static async Task WaitAsync(string what, Func<Task<bool>> holds, Func<string> seen)
    {
        var started = Stopwatch.GetTimestamp();
        while (!await holds())
        {
            Assert.True(Stopwatch.GetElapsedTime(started) < Patience, $"after {Patience.TotalMinutes} minutes still waiting until {what}: {seen()}");
            await Task.Delay(20, Cancel);
        }
    }

    /// <summary>Sends SIGTERM.</summary>
    public void Terminate()
    {
        using var kill = Process.Start("kill", ["-TERM", process.Id.ToString(CultureInfo.InvariantCulture)]);
        kill.WaitForExit();
    }

    /// <summary>Waits for its end and gives the exit code.</summary>
    public async Task<int> ExitedAsync()
    {
        await WaitAsync("it has ended", () => process.HasExited, () => Said);
        await process.WaitForExitAsync(Cancel);
        return process.ExitCode;
    }

    /// <summary>Fails unless it ends with one sentence that holds the words, and not with what only a programmer understands.</summary>
    public async Task AssertRefusedAsync(int code, params string[] words)
    {
        Assert.Equal(code, await ExitedAsync());
        var sentence = Assert.Single(Said.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));
        Assert.StartsWith("error: ", sentence, StringComparison.Ordinal);
        Assert.All(words, word => Assert.Contains(word, sentence, StringComparison.Ordinal));
        Assert.DoesNotContain("Exception", sentence, StringComparison.Ordinal);
    }

    /// <summary>Asks for a video and gives its id.</summary>
    public static async Task<string> SubmitAsync(HttpClient client, object body)
    {
        using var response = await client.PostAsJsonAsync("/v1/videos", body, Cancel);
        var text = await response.Content.ReadAsStringAsync(Cancel);
        Assert.True(response.IsSuccessStatusCode, text);
        return JsonDocument.Parse(text).RootElement.GetProperty("id").GetString()!;
    }

    /// <summary>Waits until a video is so far and gives it.</summary>
    public static async Task<JsonElement> UntilAsync(HttpClient client, string id, Func<JsonElement, bool> holds)
    {
        var video = default(JsonElement);
        await WaitAsync($"{id} is as the test wants it", async () =>
        {
            video = JsonDocument.Parse(await client.GetStringAsync($"/v1/videos/{id}", Cancel)).RootElement;
            return holds(video);
        }, () => video.ToString());
        return video;
    }

    public void Dispose()
    {
        if (!process.HasExited)
            process.Kill();
        process.WaitForExit();
        process.Dispose();
    }
}
