using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json;

namespace PyramidFlow.Cli.Tests;

/// <summary>A <c>serve</c> or <c>worker</c> as a process of its own, as its user sees it.</summary>
internal sealed class ServeProcess : IDisposable
{
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

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    /// <summary>Starts one.</summary>
    public static ServeProcess Start(params string[] arguments)
    {
        var start = new ProcessStartInfo("dotnet", [typeof(CommandLine).Assembly.Location, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["PYRAMIDFLOW_MODELS"] = "";
        start.Environment["OMP_WAIT_POLICY"] = "passive";
        start.Environment.Remove("PYRAMIDFLOW_DATABASE");
        return new ServeProcess(Process.Start(start)!);
    }

    /// <summary>The line that says that it has begun.</summary>
    public Task<string> ReadyAsync() => ready.Task.WaitAsync(Cancel);

    /// <summary>A client of a server that has begun.</summary>
    public async Task<HttpClient> ClientAsync() => new() { BaseAddress = new Uri((await ReadyAsync()).Split(' ')[^1]), Timeout = TimeSpan.FromMinutes(3) };

    /// <summary>Waits until it has said something.</summary>
    public async Task SaysAsync(string words)
    {
        while (!Said.Contains(words, StringComparison.Ordinal))
        {
            Assert.False(process.HasExited, Said);
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
        while (true)
        {
            var video = JsonDocument.Parse(await client.GetStringAsync($"/v1/videos/{id}", Cancel)).RootElement;
            if (holds(video))
                return video;
            await Task.Delay(50, Cancel);
        }
    }

    public void Dispose()
    {
        if (!process.HasExited)
            process.Kill();
        process.WaitForExit();
        process.Dispose();
    }
}
