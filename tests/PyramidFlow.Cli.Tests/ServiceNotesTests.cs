using System.Net.Http.Json;
using System.Reflection;
using System.Text.Json;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Server;
using PyramidFlow.Server.Domain;
using PyramidFlow.Testing;

namespace PyramidFlow.Cli.Tests;

/// <summary>Videos of the service and files of the command line say the same about themselves.</summary>
public sealed class ServiceNotesTests(TinyModel model) : IClassFixture<TinyModel>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    // What REST has no word for, or what another test of this class sets.
    private static readonly string[] NotAsked = ["program", "model", "variant", "image", "image_sha256", "video", "latents", "new_only", "tile_overlap", "device", "transformer", "vae"];

    [Fact]
    public async Task Every_setting_goes_from_REST_into_the_file_through_like_and_back_to_REST()
    {
        using var folder = new TemporaryFolder();
        model.WriteLora(folder.File("style.safetensors"), seed: 2);
        Directory.CreateDirectory(folder.File("loras"));
        File.Copy(folder.File("style.safetensors"), folder.File("loras", "style.safetensors"));
        await using var server = await StartAsync(folder);
        using var client = new HttpClient { BaseAddress = new Uri(server.Urls.First()) };
        var first = await MadeAsync(client, new
        {
            prompt = "a red ball", negative_prompt = "«blue» \"cube\"", prompt_suffix = ", red", size = "128x64", num_frames = 33, fps = 12.5, steps = new[] { 2, 1, 1 }, video_steps = new[] { 1, 1, 2 },
            guidance_scale = 3, video_guidance_scale = 2, reuse_prefix = 2, guidance_every = 2, solver = "second-order", seed = ulong.MaxValue,
            frames_per_unit = 2, history = 2, linear_guidance = new[] { 0.5, 1 }, sample_image = true, prompts = new[] { new { from = 0.7, prompt = "a ball" } },
            lora = new[] { new { name = "style", weight = 0.5 } },
        });
        var one = folder.Write("one.mp4", await client.GetByteArrayAsync($"/v1/videos/{first.GetProperty("id")}/content", Cancel));
        var like = await CliRun.OfAsync("generate", "--like", one, "--model", model.Folder, "-o", folder.File("two.mp4"));

        Assert.True(like.Code == ExitCode.Ok, like.Error);
        Assert.DoesNotContain("may differ", like.Error, StringComparison.Ordinal);
        var notes = (await MediaMetadata.ReadAsync(one, Cancel))[GenerationNotes.Key];
        Assert.Equal(notes, (await MediaMetadata.ReadAsync(folder.File("two.mp4"), Cancel))[GenerationNotes.Key]);
        Assert.Equal(await File.ReadAllBytesAsync(one, Cancel), await File.ReadAllBytesAsync(folder.File("two.mp4"), Cancel));
        using var json = JsonDocument.Parse(notes);
        var keys = typeof(GenerationNotes).GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(property => property.CanWrite && property.Name != nameof(GenerationNotes.Options))
            .Select(property => JsonNamingPolicy.SnakeCaseLower.ConvertName(property.Name)).Concat(SettingsTable.All.Where(setting => setting.IsNoted).Select(setting => setting.Name)).Except(NotAsked);
        Assert.All(keys, key => Assert.True(json.RootElement.TryGetProperty(key, out _), $"{key} does not stand in the file"));

        // What REST says about a video asks for the same again.
        var said = first.EnumerateObject().Where(field => Asked.Contains(field.Name)).ToDictionary(field => field.Name, field => field.Value);
        Assert.Equal(Asked.Length, said.Count);
        var second = await MadeAsync(client, said);
        Assert.Equal(await File.ReadAllBytesAsync(one, Cancel), await client.GetByteArrayAsync($"/v1/videos/{second.GetProperty("id")}/content", Cancel));
    }

    [Fact]
    public async Task Pictures_of_a_video_say_how_it_was_made_and_what_it_began_with_is_found_beside_it()
    {
        using var folder = new TemporaryFolder();
        await using var server = await StartAsync(folder);
        using var client = new HttpClient { BaseAddress = new Uri(server.Urls.First()) };
        var url = "data:image/png;base64," + Convert.ToBase64String(PngWriter.Encode(new RgbImage(64, 64, Enumerable.Repeat((byte)90, 64 * 64 * 3).ToArray())));
        var id = (await MadeAsync(client, new { prompt = "a red ball", num_frames = 9, seed = 4, input_reference = url })).GetProperty("id").GetString();
        var made = folder.Write("made.mp4", await client.GetByteArrayAsync($"/v1/videos/{id}/content", Cancel));
        using (var input = await client.GetAsync($"/v1/videos/{id}/content?variant=input&download", Cancel))
            folder.Write(input.Content.Headers.ContentDisposition!.FileName!.Trim('"'), await input.Content.ReadAsByteArrayAsync(Cancel));

        var like = await CliRun.OfAsync("generate", "--like", made, "--model", model.Folder, "-o", folder.File("again.mp4"));
        Assert.True(like.Code == ExitCode.Ok, like.Error);
        Assert.DoesNotContain("warning", like.Error, StringComparison.Ordinal);
        Assert.Equal(await File.ReadAllBytesAsync(made, Cancel), await File.ReadAllBytesAsync(folder.File("again.mp4"), Cancel));
        foreach (var variant in new[] { "last_frame", "thumbnail", "spritesheet" })
        {
            var picture = folder.Write($"{variant}.png", await client.GetByteArrayAsync($"/v1/videos/{id}/content?variant={variant}", Cancel));
            Assert.Equal("a red ball", GenerationNotes.Read(await MediaMetadata.ReadAsync(picture, Cancel))?.Options.Prompt);
        }

        var longer = await MadeAsync(client, new { prompt = "a ball", num_frames = 8, seed = 4, extend_video_id = id });
        var extended = folder.Write("longer.mp4", await client.GetByteArrayAsync($"/v1/videos/{longer.GetProperty("id")}/content", Cancel));
        (await CliRun.OfAsync("generate", "--like", extended, "--model", model.Folder, "-o", folder.File("x.mp4"))).AssertRefused($"goes on from the video {id}.mp4", "pyramidflow extend");
        var extend = await CliRun.OfAsync("extend", extended, "--frames", "8", "--model", model.Folder, "-o", folder.File("y.mp4"));
        Assert.True(extend.Code == ExitCode.Ok, extend.Error);
        Assert.Equal("a ball", GenerationNotes.Read(await MediaMetadata.ReadAsync(folder.File("y.mp4"), Cancel))?.Options.Prompt);
    }

    // A length in seconds says the same as the number of frames.
    private static string[] Asked => [.. SettingsTable.All.Select(setting => setting.Field).OfType<string>().Where(name => name != "seconds"), "model"];

    private async Task<Microsoft.AspNetCore.Builder.WebApplication> StartAsync(TemporaryFolder folder)
    {
        var name = Path.GetFileName(model.Folder);
        var app = VideoServer.Build(new ServerOptions
        {
            DataFolder = folder.File("data"), LoraFolder = folder.File("loras"), Port = 0, Models = () => [new ModelFolder(name, model.Folder)],
            Pipeline = new PipelineOptions { Threads = 1, Tiles = new TileOptions(64), PreviewEvery = ServerOptions.DefaultPreviewInterval },
        });
        await app.StartAsync(Cancel);
        return app;
    }

    private static async Task<JsonElement> MadeAsync(HttpClient client, object request)
    {
        using var answer = await client.PostAsJsonAsync("/v1/videos", request, Cancel);
        var text = await answer.Content.ReadAsStringAsync(Cancel);
        Assert.True(answer.IsSuccessStatusCode, text);
        var id = JsonDocument.Parse(text).RootElement.GetProperty("id").GetString();
        using var events = await client.GetAsync($"/v1/videos/{id}/events", Cancel);
        await events.Content.ReadAsStringAsync(Cancel);
        var video = await client.GetFromJsonAsync<JsonElement>($"/v1/videos/{id}", Cancel);
        Assert.True(video.GetProperty("status").GetString() == "completed", video.GetRawText());
        return video;
    }
}
