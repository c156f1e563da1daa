using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Extensions.DependencyInjection;
using PyramidFlow.Generation;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Tests;

/// <summary>LoRAs of requests on the sprites model: their memory, and that nothing of one is left in the next video.</summary>
public sealed class LoraMemoryTests
{
    private static readonly GenerationOptions Request = new() { Prompt = "a small red circle moving right on a black background", Frames = 1, Steps = [1], Seed = 7, Width = 64, Height = 64 };

    [Fact]
    public void Twenty_requests_over_five_LoRAs_give_what_each_gives_alone_within_the_memory()
    {
        using var folder = new TemporaryFolder();
        using var scope = new TensorScope();
        string[] loras = [.. Enumerable.Range(0, 5).Select(i => MadeUpLora.Write(folder.File($"lora-{i}.safetensors"), (ulong)i))];
        var (plain, options) = (Alone([]), new PipelineOptions { Threads = 1 });
        var alone = loras.Select(lora => Alone([new LoraUse(lora)])).ToList();
        Assert.Equal(6, alone.Append(plain).Select(latents => string.Join(' ', latents)).Distinct().Count());

        long bytes;
        using (var first = VideoPipeline.Load(Sprites.Folder, options))
        {
            Of(first, [new LoraUse(loras[0])]);
            bytes = first.Models.Loras.Bytes;
        }

        // Three of them fit.
        using var pipeline = VideoPipeline.Load(Sprites.Folder, options with { LoraCacheBytes = (3 * bytes) + 1 });
        Of(pipeline, []);
        var order = new Random(1);
        List<(string Kind, TimeSpan Time)> times = [];
        for (var i = 0; i < 20; i++)
        {
            var (which, kept) = (i < 5 ? i : order.Next(5), pipeline.Models.Loras.Count);
            times.Add((i < 5 ? "first use" : "later use", Timed(() => Assert.Equal(alone[which], Of(pipeline, [new LoraUse(loras[which])])))));
            times.Add(("second use in a row", Timed(() => Assert.Equal(alone[which], Of(pipeline, [new LoraUse(loras[which])])))));
            times.Add(("none", Timed(() => Assert.Equal(plain, Of(pipeline, [])))));
            Assert.InRange(pipeline.Models.Loras.Bytes, bytes, 3 * bytes);
            Assert.Equal(Math.Min(3, Math.Max(kept, i < 5 ? i + 1 : 0)), pipeline.Models.Loras.Count);
        }

        foreach (var kind in times.GroupBy(each => each.Kind, each => each.Time.TotalMilliseconds))
            TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{kind.Key}: median {kind.Order().ElementAt(kind.Count() / 2):0.0} ms of {kind.Count()}"));

        float[] Alone(IReadOnlyList<LoraUse> used)
        {
            using var loaded = VideoPipeline.Load(Sprites.Folder, new PipelineOptions { Threads = 1, Loras = used });
            return Of(loaded, []);
        }
    }

    private static float[] Of(VideoPipeline pipeline, IReadOnlyList<LoraUse> loras)
    {
        using var scope = new TensorScope();
        return pipeline.GenerateLatents(Request with { Loras = loras }, cancellationToken: TestContext.Current.CancellationToken).ToArray<float>();
    }

    private static TimeSpan Timed(Action work)
    {
        var start = Stopwatch.GetTimestamp();
        work();
        return Stopwatch.GetElapsedTime(start);
    }
}

/// <summary>LoRAs that requests name.</summary>
public sealed class LoraRequestTests : IAsyncLifetime
{
    private readonly TemporaryFolder folder = new();
    private TestServer? server;

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public async ValueTask InitializeAsync()
    {
        MadeUpLora.Write(folder.File("loras", "style.safetensors"), 1);
        MadeUpLora.Write(folder.File("loras", "panda", "adapter_model.safetensors"), 2);
        folder.Write("loras/broken.safetensors", "nothing");
        folder.Write("loras/notes.txt", "style is mine");
        server = await TestServer.StartAsync(options => options with { LoraFolder = folder.File("loras") });
    }

    public async ValueTask DisposeAsync()
    {
        await server!.DisposeAsync();
        folder.Dispose();
    }

    [Fact]
    public async Task Those_of_the_folder_are_listed_and_make_other_videos_of_which_nothing_is_left_in_the_next()
    {
        var listed = (await server!.GetAsync("/v1/loras")).GetProperty("data").EnumerateArray().ToList();
        Assert.Equal(["panda lora sprites,sprites:fast", "style lora sprites,sprites:fast"], listed.Select(lora =>
            $"{lora.GetProperty("id")} {lora.GetProperty("object")} {string.Join(',', lora.GetProperty("models").EnumerateArray())}"));

        var plain = await MadeAsync(null);
        var styled = await MadeAsync("style:0.5");
        var both = await MadeAsync(new object[] { "panda", new { name = "style", weight = 0.5 } });
        Assert.Equal("""[{"name":"panda","weight":1},{"name":"style","weight":0.5}]""", both.Video.GetProperty("lora").GetRawText());
        Assert.Equal("""[{"name":"style","weight":0.5}]""", styled.Video.GetProperty("lora").GetRawText());
        Assert.False(plain.Video.TryGetProperty("lora", out _));
        Assert.Equal(3, new[] { plain.Pixels, styled.Pixels, both.Pixels }.Distinct().Count());
        Assert.Equal(plain.Pixels, (await MadeAsync(Array.Empty<object>())).Pixels);
        // A remix has the LoRAs of its original.
        var remix = await server.PostAsync(new { prompt = "a small red circle moving right on a black background" }, $"/v1/videos/{styled.Video.GetProperty("id")}/remix");
        Assert.Equal(styled.Pixels, (await EndedAsync(remix)).Pixels);
    }

    [Fact]
    public async Task A_LoRA_that_is_gone_leaves_its_video_in_the_queue_which_says_so_and_comes_back()
    {
        await using var alone = await TestServer.StartAsync(options => options with { LoraFolder = folder.File("loras"), RunsWorker = false });
        var id = await alone.SubmitAsync(new { prompt = "a circle", lora = "style", num_frames = 1, num_inference_steps = 1 });
        File.Move(folder.File("loras", "style.safetensors"), folder.File("away.safetensors"));
        var worker = VideoWorkers.Build(new ServerOptions { DataFolder = alone.Data, Models = () => [new Domain.ModelFolder("sprites", Sprites.Folder)], LoraFolder = folder.File("loras") });
        await worker.StartAsync(Cancel);
        // The worker is known, and it is known to lack the LoRA.
        await TestServer.UntilAsync(() => Task.FromResult(alone.Services.GetRequiredService<JobFeed>().Queue.Workers.Count > 0));
        Assert.Equal("worker", (await alone.GetAsync($"/v1/videos/{id}")).GetProperty("waits_for").GetString());

        File.Move(folder.File("away.safetensors"), folder.File("loras", "style.safetensors"));
        Assert.Equal("completed", (await alone.EndedAsync(id)).GetProperty("status").GetString());
        await worker.StopAsync(CancellationToken.None);
        worker.Dispose();
    }

    private async Task<(JsonElement Video, string Pixels)> MadeAsync(object? lora) =>
        await EndedAsync(await server!.PostAsync(new { prompt = "a small red circle moving right on a black background", num_frames = 1, num_inference_steps = 1, seed = 7, lora }));

    private async Task<(JsonElement Video, string Pixels)> EndedAsync(JsonElement asked)
    {
        var id = asked.GetProperty("id").GetString()!;
        var video = await server!.EndedAsync(id);
        Assert.True(video.GetProperty("status").GetString() == "completed", video.GetRawText());
        var picture = await server.Client.GetByteArrayAsync($"/v1/videos/{id}/content?variant=last_frame", Cancel);
        // The notes of two files may differ.
        var image = await Media.ImageReader.ReadAsync(folder.Write($"{id}.png", picture), 128, 128, Cancel);
        return (video, Convert.ToHexString(image.Pixels.ToArray()));
    }
}

/// <summary>A server without a worker, and its LoRAs.</summary>
public sealed class LoraFolderServer : IAsyncLifetime
{
    internal TemporaryFolder Folder { get; } = new();

    internal TestServer Server { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        MadeUpLora.Write(Folder.File("loras", "style.safetensors"), 1);
        MadeUpLora.Write(Folder.File("loras", "panda", "adapter_model.safetensors"), 2);
        MadeUpLora.Write(Folder.File("outside.safetensors"), 3);
        Folder.Write("loras/broken.safetensors", "nothing");
        Server = await TestServer.StartAsync(options => options with { LoraFolder = Folder.File("loras"), RunsWorker = false });
    }

    public async ValueTask DisposeAsync()
    {
        await Server.DisposeAsync();
        Folder.Dispose();
    }
}

/// <summary>LoRAs that cannot be asked for.</summary>
public sealed class LoraRefusalTests(LoraFolderServer started) : IClassFixture<LoraFolderServer>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Theory]
    [InlineData("unknown", "lora_unknown", "lora=unknown|known=broken, panda, style")]
    [InlineData("../outside", "lora_unknown", "lora=../outside")]
    [InlineData("style.safetensors", "lora_unknown", "lora=style.safetensors")]
    [InlineData("panda/adapter_model", "lora_unknown", "")]
    [InlineData("broken", "lora_of_other_model", "lora=broken|model=sprites")]
    [InlineData("style:101", "lora_weight_beyond_limit", "lora=style|weight=101|most=100")]
    [InlineData("style;style;style;style;style;style;style;style;style", "too_many_loras", "most=8")]
    [InlineData("style:much", "value_invalid", "")]
    public async Task What_the_folder_does_not_have_and_what_cannot_be_is_refused(string lora, string reason, string parameters)
    {
        using var answer = await started.Server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a circle", lora }, Cancel);
        var problem = await TestServer.RefusedAsync(answer, HttpStatusCode.BadRequest, reason, parameters);
        Assert.Equal("lora", problem.GetProperty("error").GetProperty("param").GetString());
        Assert.DoesNotContain(started.Folder.Path, problem.GetRawText(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Settings_beside_a_LoRA_that_are_mended_make_it_fit()
    {
        using var folder = new TemporaryFolder();
        var file = MadeUpLora.Write(folder.File("plain.safetensors"), 4);
        using (var scope = new TensorScope())
        {
            // Without the metadata of this program, so that the settings beside it count.
            using var source = Torch.Checkpoints.SafetensorsFile.Open(file);
            Directory.CreateDirectory(folder.File("loras", "cat"));
            Torch.Checkpoints.SafetensorsWriter.Write(folder.File("loras", "cat", "adapter_model.safetensors"), source.Entries.Keys.Select(key => (key, source.Read(key))));
        }

        folder.Write("loras/cat/adapter_config.json", """{"r": 3}""");
        await using var server = await TestServer.StartAsync(options => options with { LoraFolder = folder.File("loras"), RunsWorker = false });
        Assert.Equal(0, (await server.GetAsync("/v1/loras")).GetProperty("data").GetArrayLength());
        using (var answer = await server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a circle", lora = "cat" }, Cancel))
            await TestServer.RefusedAsync(answer, HttpStatusCode.BadRequest, "lora_of_other_model", "lora=cat|model=sprites");
        await File.WriteAllTextAsync(folder.File("loras", "cat", "adapter_config.json"), """{"r": 2}""", Cancel);
        Assert.Equal("cat", (await server.GetAsync("/v1/loras")).GetProperty("data")[0].GetProperty("id").GetString());

        // A folder that cannot be read is no empty one.
        Directory.Move(folder.File("loras"), folder.File("away"));
        using var refused = await server.Client.PostAsJsonAsync("/v1/videos", new { prompt = "a circle", lora = "cat" }, Cancel);
        await TestServer.RefusedAsync(refused, HttpStatusCode.ServiceUnavailable, "loras_unreadable");
    }
}
