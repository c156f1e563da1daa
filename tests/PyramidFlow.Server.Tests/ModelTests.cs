using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Models.Lora;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Http;
using PyramidFlow.Server.Worker;
using PyramidFlow.Testing;

namespace PyramidFlow.Server.Tests;

/// <summary>A checkpoint with several transformers is named by its folder alone too, which is its first transformer, wherever a model is named.</summary>
public sealed class ModelNameTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public ModelNameTests()
    {
        foreach (var part in Directory.GetDirectories(Sprites.Folder))
        {
            var name = Path.GetFileName(part);
            foreach (var variant in name == "diffusion_transformer" ? new[] { "_384p", "_768p" } : [""])
                Directory.CreateSymbolicLink(folder.File("wide", name + variant), part);
        }

        var settings = File.ReadAllText(Path.Combine(Sprites.Folder, "pipeline.json"));
        folder.Write("wide/pipeline.json", settings);
    }

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task A_short_name_is_found_everywhere()
    {
        await using var server = await TestServer.StartAsync(options => options with
        {
            Models = () => [new ModelFolder("sprites", Sprites.Folder), new ModelFolder("wide", folder.File("wide"))],
        });
        Assert.Equal("wide:384p", (await server.GetAsync("/v1/models/wide")).GetProperty("id").GetString());
        Assert.Equal("wide:768p", (await server.GetAsync("/v1/models/wide:768p")).GetProperty("id").GetString());
        Assert.Equal("wide:384p", (await server.PostAsync(new { prompt = "a circle", model = "wide", num_frames = 9, num_inference_steps = 1 })).GetProperty("model").GetString());
    }

    [Theory]
    [InlineData("wide", null, 5)]
    [InlineData("wide:384p", null, 5)]
    [InlineData(null, "wide", 5)]
    [InlineData(null, null, 20)]
    [InlineData("sprites", "wide", 20)]
    public void Steps_of_later_units_follow_the_ratio_of_the_model_that_is_named(string? named, string? original, int later)
    {
        var settings = PyramidFlow.Models.PipelineSettings.Released(PyramidFlow.Models.ModelFamilies.Flux, "384p") with { Steps = [20, 20, 20] };
        VideoModel[] models =
        [
            new("sprites", "", null, settings with { VideoSteps = [20, 20, 20] }),
            new("wide:384p", "", "384p", settings with { VideoSteps = [5, 5, 5] }),
        ];
        var fields = new RequestFields(KnownFields.Create);
        fields.Add(JsonSerializer.SerializeToElement(new { prompt = "a circle", model = named, num_inference_steps = 20 }));
        Assert.Equal([later, later, later], CreateFields.Read(fields, null, models, original).VideoSteps!);
    }
}

public sealed class NotedLorasTests
{
    [Fact]
    public void A_LoRA_that_was_away_for_a_moment_has_its_hash_in_the_notes_of_later_videos()
    {
        using var folder = new TemporaryFolder();
        folder.Write("there.safetensors", "there");
        LoraUse[] loras = [new(folder.File("pink"), 0.5), new(folder.File("there.safetensors"))];
        var noted = new NotedLoras();
        Assert.Equal([null, GenerationNotes.Sha256(folder.File("there.safetensors"))], noted.Of(loras).Select(lora => lora.Sha256));

        folder.Write("pink/adapter_model.safetensors", "matrices");
        folder.Write("pink/adapter_config.json", "{}");
        var hash = LoraPlace.Find(folder.File("pink")).Sha256();
        Assert.Equal(new NotedLora("pink", 0.5, hash), noted.Of(loras)[0]);

        Directory.Delete(folder.File("pink"), recursive: true);
        Assert.Equal(hash, noted.Of(loras)[0].Sha256);
    }
}
