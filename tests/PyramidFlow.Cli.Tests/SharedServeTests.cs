using System.Globalization;
using System.Text.Json;
using Microsoft.Data.Sqlite;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>A server of two processes, which make each video together.</summary>
public sealed class SharedServeTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private static readonly object Quick = new { prompt = "a red ball", num_frames = 9, num_inference_steps = 1, seed = 7 };

    // More steps than a test has the patience for, were they not stopped.
    private static readonly object Endless = new { prompt = "a red ball", num_frames = 481, num_inference_steps = 200, guidance_scale = 4, video_guidance_scale = 3 };

    // Many units, each of which takes some time.
    private static readonly object Long = new { prompt = "a red ball", num_frames = 481, num_inference_steps = 20, guidance_scale = 4, video_guidance_scale = 3 };

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Videos_of_several_processes_are_those_of_one()
    {
        model.WriteLora(folder.File("style.safetensors"), seed: 2);
        Directory.CreateDirectory(folder.File("loras"));
        model.WriteLora(folder.File("loras", "panda.safetensors"), seed: 3);
        string[] lora = ["--lora", folder.File("style.safetensors"), "--lora-folder", folder.File("loras")];
        var one = await MadeAsync(Serve("one", lora));
        foreach (var (count, ways) in new[] { (2, ""), (3, "guidance=2,decode=1") })
        {
            var several = await MadeAsync(Launch(count, $"several-{ways}", ["--time-limit", "60"], ways.Length == 0 ? lora : [.. lora, "--parallel", ways]));
            Assert.Equal(one.Count, several.Count);
            foreach (var (expected, actual) in one.Zip(several))
            {
                Assert.Equal(expected.Frames, actual.Frames);
                Assert.InRange(expected.Last.Zip(actual.Last, (a, b) => Math.Abs(a - b)).Max(), 0, 1);
            }
        }
    }

    [Fact]
    public async Task A_cancelled_video_leaves_processes_that_make_the_next_one_and_end_with_the_service()
    {
        using var serve = Launch(2, "data", ["--time-limit", "60"], []);
        using var client = await serve.ClientAsync();
        for (var i = 0; i < 2; i++)
        {
            var running = await ServeProcess.SubmitAsync(client, Endless);
            await ServeProcess.UntilAsync(client, running, IsDenoised);
            (await client.PostAsync($"/v1/videos/{running}/cancel", null, Cancel)).EnsureSuccessStatusCode();
            await CompletedAsync(serve, client, await ServeProcess.SubmitAsync(client, Quick));
        }

        var last = await ServeProcess.SubmitAsync(client, Endless);
        await ServeProcess.UntilAsync(client, last, IsDenoised);
        await EndAsync(serve);
        // A busy machine starts one process long before the other, which says that it waits.
        Assert.DoesNotContain(serve.Said.Split('\n'), line => line.StartsWith("process 1:", StringComparison.Ordinal) && !line.Contains("waiting for process", StringComparison.Ordinal));
        Assert.Equal(("queued", 0L), await RowAsync("data", last));
    }

    [Fact]
    public async Task Processes_wait_for_a_video_and_for_its_last_frames_longer_than_for_one_another()
    {
        // The whole video, unlike its live stream, takes longer to write than the others would wait.
        var ffmpeg = folder.WriteProgram("ffmpeg", "ffmpeg \"$@\" || exit\ncase \"$*\" in *faststart*) sleep 6;; esac\n");
        using var serve = ServeProcess.Start(ffmpeg, LaunchArguments(2, "data", ["--time-limit", "5"], []));
        using var client = await serve.ClientAsync();
        await Task.Delay(TimeSpan.FromSeconds(6), Cancel);
        await CompletedAsync(serve, client, await ServeProcess.SubmitAsync(client, Quick));
        await EndAsync(serve);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_process_that_is_killed_ends_the_service_and_its_video_goes_on_after_the_next_start(bool isMaking)
    {
        var id = "";
        using (var serve = Launch(2, "data", ["--time-limit", "60"], []))
        {
            using var client = await serve.ClientAsync();
            if (isMaking)
            {
                id = await ServeProcess.SubmitAsync(client, Long);
                await ServeProcess.UntilAsync(client, id, video => IsDenoised(video) && video.GetProperty("stage").GetProperty("unit").GetInt32() > 2);
            }

            ChildProcess.Of(serve.Id).MaxBy(child => long.Parse(child.Started, CultureInfo.InvariantCulture) * 10_000_000 + child.Id)!.Kill();
            Assert.NotEqual(ExitCode.Ok, await serve.ExitedAsync());
            Assert.Contains("process 1 is gone", serve.Said, StringComparison.Ordinal);
        }

        if (!isMaking)
            return;
        Assert.Equal(("queued", 1L), await RowAsync("data", id));
        using var again = Launch(2, "data", ["--time-limit", "60"], []);
        using var client2 = await again.ClientAsync();
        await again.SaysAsync($"{id}: attempt 2 begins");
        var resumed = await ServeProcess.UntilAsync(client2, id, IsDenoised);
        Assert.True(resumed.GetProperty("resumed_from_unit").GetInt32() > 2, resumed.ToString());
        await EndAsync(again);
    }

    [Fact]
    public async Task What_cannot_be_stopped_in_time_ends_with_all_processes_and_goes_back_into_the_queue()
    {
        var copy = await model.WithSilentWeightsAsync(folder, Cancel);
        string id;
        using (var serve = ServeProcess.Start("launch", "--nproc", "2", "--", "serve", "--data", folder.File("data"), "--model", copy, "--port", "0"))
        {
            using var client = await serve.ClientAsync();
            id = await ServeProcess.SubmitAsync(client, Quick);
            await ServeProcess.UntilAsync(client, id, video => video.GetProperty("stage").ValueKind == JsonValueKind.Object);
            await EndAsync(serve);
        }

        Assert.Equal(("queued", 0L), await RowAsync("data", id));
    }

    [Fact]
    public async Task A_server_without_a_worker_is_refused_as_a_group()
    {
        using var serve = ServeProcess.Start("launch", "--nproc", "2", "--", "serve", "--no-worker", "--data", folder.File("data"), "--model", model.Folder, "--port", "0");
        Assert.Equal(ExitCode.WrongUsage, await serve.ExitedAsync());
        Assert.Contains("--no-worker", serve.Said, StringComparison.Ordinal);
    }

    private static bool IsDenoised(JsonElement video) =>
        video.GetProperty("stage") is { ValueKind: JsonValueKind.Object } stage && stage.GetProperty("phase").GetString() == "denoising" && stage.GetProperty("step").GetInt32() > 2;

    private static async Task EndAsync(ServeProcess serve)
    {
        serve.Terminate();
        var code = await serve.ExitedAsync();
        Assert.True(code == ExitCode.Ok, $"{code}: {serve.Said}");
    }

    private static async Task CompletedAsync(ServeProcess serve, HttpClient client, string id)
    {
        var video = await ServeProcess.UntilAsync(client, id, video => video.GetProperty("status").GetString() is "completed" or "failed");
        Assert.True(video.GetProperty("status").GetString() == "completed", $"{video}\n{serve.Said}");
    }

    // A guided video, one that begins with a picture, and one that goes on with the first.
    private async Task<List<(int Frames, byte[] Last)>> MadeAsync(ServeProcess serve)
    {
        using var owned = serve;
        using var client = await serve.ClientAsync();
        var picture = folder.File("picture.png");
        if (!File.Exists(picture))
            PngWriter.Write(picture, new RgbImage(64, 64, Enumerable.Range(0, 64 * 64 * 3).Select(i => (byte)(i / 48)).ToArray()));
        var guided = await ServeProcess.SubmitAsync(client, new { prompt = "a red ball", num_frames = 17, num_inference_steps = 2, guidance_scale = 4, video_guidance_scale = 3, seed = 7, lora = "panda:-0.5" });
        var begun = await ServeProcess.SubmitAsync(client, new
        {
            prompt = "a red ball",
            prompts = new[] { new { from = 1, prompt = "a ball" } },
            num_frames = 33,
            num_inference_steps = 2,
            seed = 8,
            input_reference = new { image_url = "data:image/png;base64," + Convert.ToBase64String(await File.ReadAllBytesAsync(picture, Cancel)) },
        });
        var made = new List<(int, byte[])>();
        foreach (var id in new[] { guided, begun })
        {
            await CompletedAsync(serve, client, id);
            made.Add(await FramesAsync(client, id));
        }

        var longer = await ServeProcess.SubmitAsync(client, new { prompt = "a red ball", extend_video_id = begun, num_frames = 16, num_inference_steps = 2, seed = 9 });
        await CompletedAsync(serve, client, longer);
        made.Add(await FramesAsync(client, longer));
        using var preview = await client.GetAsync($"/v1/videos/{longer}/content?variant=spritesheet", Cancel);
        Assert.True(preview.IsSuccessStatusCode);
        await EndAsync(serve);
        return made;
    }

    private async Task<(int Frames, byte[] Last)> FramesAsync(HttpClient client, string id)
    {
        var (last, video) = (folder.File($"{id}.png"), folder.File($"{id}.mp4"));
        await File.WriteAllBytesAsync(last, await client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=last_frame", Cancel), Cancel);
        await File.WriteAllBytesAsync(video, await client.GetByteArrayAsync($"/v1/videos/{id}/content", Cancel), Cancel);
        var frames = 0;
        await foreach (var chunk in VideoReader.ReadAsync(video, new VideoReadOptions(), Cancel))
            frames += chunk.Count;
        var picture = await ImageReader.ReadAsync(last, 64, 64, Cancel);
        return (frames, picture.Pixels.ToArray());
    }

    private ServeProcess Serve(string data, params string[] more) =>
        ServeProcess.Start(["serve", "--data", folder.File(data), "--model", model.Folder, "--port", "0", "--threads", "1", .. more]);

    private ServeProcess Launch(int count, string data, string[] launch, string[] serve) => ServeProcess.Start(LaunchArguments(count, data, launch, serve));

    private string[] LaunchArguments(int count, string data, string[] launch, string[] serve) =>
        ["launch", "--nproc", $"{count}", .. launch, "--", "serve", "--data", folder.File(data), "--model", model.Folder, "--port", "0", "--threads", "1", .. serve];

    private async Task<(string Status, long Attempt)> RowAsync(string data, string id)
    {
        await using var database = new SqliteConnection($"Data Source={folder.File(data, "jobs.db")};Pooling=False");
        await database.OpenAsync(Cancel);
        await using var command = database.CreateCommand();
        command.CommandText = $"SELECT status, attempt FROM videos WHERE id = '{id}'";
        await using var reader = await command.ExecuteReaderAsync(Cancel);
        Assert.True(await reader.ReadAsync(Cancel));
        return (reader.GetString(0), reader.GetInt64(1));
    }
}
