using System.Text.Json.Nodes;
using PyramidFlow.Generation;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Training;
using PyramidFlow.Training.Tests;

namespace PyramidFlow.Sprites.Tests;

public sealed class SpriteTrainingTests : IDisposable
{
    private readonly TemporaryFolder folder = new();
    private readonly int threads = TorchRuntime.Threads;

    public SpriteTrainingTests() => TorchRuntime.Threads = 1;

    public void Dispose()
    {
        TorchRuntime.Threads = threads;
        folder.Dispose();
    }

    [Fact]
    public void Runs_end_in_a_model_that_the_pipeline_loads()
    {
        var runs = Path.Combine(folder.Path, "runs");
        folder.Write("vae.json", CommittedConfig.Changed("sprites-vae.json",
            ("frames", 9), ("crop", 16), ("linear_steps", 2), ("steps", 2), ("checkpoint_every", 2)));
        folder.Write("dit.json", CommittedConfig.Changed("sprites-dit.json",
            ("transformer.num_layers", 1), ("transformer.num_single_layers", 1), ("transformer.attention_head_dim", 16),
            ("transformer.num_attention_heads", 2), ("transformer.axes_dims_rope", new JsonArray(4, 6, 6)),
            ("clips", 2), ("latent_frames", 2), ("steps", 2), ("batch", new JsonArray(2, 2, 2)), ("image_steps", 1)));
        Assert.InRange(SpriteTraining.RunVae(folder.File("vae.json"), runs, null, CancellationToken.None), 10, 60);
        SpriteTextEncoders.Make(Path.Combine(runs, "model"), seed: 1, steps: 1, null, CancellationToken.None);
        SpriteTraining.RunDit(folder.File("dit.json"), runs, null, CancellationToken.None);

        // A finished run takes its own copy of the configuration and has nothing left to do.
        // Threads are those of the caller, which reads them from line and configuration.
        TorchRuntime.Threads = 2;
        SpriteTraining.RunDit(Path.Combine(runs, "dit", "config.json"), runs, null, CancellationToken.None);
        Assert.Equal(2, TorchRuntime.Threads);
        TorchRuntime.Threads = 1;

        var model = Path.Combine(folder.Path, "model");
        SpriteTraining.Export(runs, model);
        var checkpoint = CheckpointFolder.Open(model);
        Assert.Equal(ModelFamilies.Flux, checkpoint.Family);
        Assert.Empty(CheckpointReport.Create(checkpoint, cancellationToken: TestContext.Current.CancellationToken).Variants.SelectMany(variant => variant.Faults));
        using var pipeline = VideoPipeline.Load(model);
        Assert.Equal((SpriteTraining.Settings.Width, SpriteTraining.Settings.Frames), (pipeline.Settings.Width, pipeline.Settings.Frames));

        var further = Path.Combine(folder.Path, "further");
        var config = JsonNode.Parse(File.ReadAllText(folder.File("dit.json")))!;
        (config["start_from"], config["steps"], config["learning_rate"]) = (model, 1, 0);
        folder.Write("further.json", config.ToJsonString());
        SpriteTraining.RunDit(folder.File("further.json"), further, null, CancellationToken.None);
        var successor = Path.Combine(folder.Path, "successor");
        SpriteTraining.Export(further, successor);
        Assert.All(Directory.GetFiles(model, "*.safetensors", SearchOption.AllDirectories), file =>
            Assert.Equal(File.ReadAllBytes(file), File.ReadAllBytes(Path.Combine(successor, Path.GetRelativePath(model, file)))));

        var adapted = JsonNode.Parse(File.ReadAllText(CommittedConfig.Path("sprites-lora.json")), documentOptions: new() { CommentHandling = System.Text.Json.JsonCommentHandling.Skip })!;
        (adapted["start_from"], adapted["steps"], adapted["clips"], adapted["latent_frames"], adapted["batch"]) = (model, 1, 2, 2, new JsonArray(1, 1, 1));
        folder.Write("lora.json", adapted.ToJsonString());
        var lora = SpriteTraining.RunLora(folder.File("lora.json"), Path.Combine(folder.Path, "lora"), null, CancellationToken.None);
        VideoPipeline.Load(model, new PipelineOptions { Loras = [new LoraUse(lora)] }).Dispose();
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.RunDit(folder.File("lora.json"), further, null, CancellationToken.None)), "config_of_lora", ("file", folder.File("lora.json")));

        var together = Path.Combine(folder.Path, "together");
        (config["objective"], config["new_weights"], config["batch"], config["log_every"]) = ("full_sequence", true, new JsonArray(2), 1);
        (config["transformer"]!["use_temporal_causal"], config["checkpoint_every"], config["keep_steps"]) = (false, 1, new JsonArray(1));
        folder.Write("together.json", config.ToJsonString());
        SpriteTraining.RunDit(folder.File("together.json"), together, null, CancellationToken.None);
        var whole = Path.Combine(folder.Path, "whole");
        SpriteTraining.Export(together, whole, Assert.Single(KeptWeights.Find(Path.Combine(together, "dit"))).File);
        Assert.True(CheckpointFolder.Open(whole).Settings(null).FullSequence);
        Assert.True(CheckpointFolder.Open(model).With(together, null).Settings(null).FullSequence);
        var weights = Path.Combine("diffusion_transformer", "diffusion_pytorch_model.safetensors");
        Assert.NotEqual(File.ReadAllBytes(Path.Combine(model, weights)), File.ReadAllBytes(Path.Combine(whole, weights)));

        // The newest weights take the place of the model's without an export.
        VideoPipeline.Load(model, new PipelineOptions { Transformer = further, Vae = runs }).Dispose();
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => SpriteTraining.Export(further, model)), "target_not_empty", ("folder", model));
    }

    [Fact]
    public void The_transformer_needs_the_run_of_the_vae()
    {
        var error = Assert.Throws<TrainingException>(() =>
            SpriteTraining.RunDit(CommittedConfig.Path("sprites-dit.json"), folder.Path, null, CancellationToken.None));
        FaultAssert.Is(error, "vae_run_missing", ("folder", folder.Path));
        FaultAssert.Is(Assert.Throws<TrainingException>(() => SpriteTraining.Export(folder.Path, folder.Path)), "run_unfinished", ("folder", folder.Path), ("part", "dit"));
    }

    [Fact]
    public void Kept_weights_know_what_all_steps_up_to_them_cost()
    {
        folder.Write("metrics.jsonl", "{\"step\":20,\"flops\":5}\n{\"step\":40,\"flops\":6}\n{\"step\":60,\"flops\":7}\n");
        foreach (var name in (string[])["dit-40.safetensors", "dit-100.safetensors", "dit-20.safetensors", "dit.safetensors", "dit-a.safetensors"])
            folder.Write(name, "");
        Assert.Equal(
            [new KeptWeights(20, "dit-20.safetensors", 5), new KeptWeights(40, "dit-40.safetensors", 11), new KeptWeights(100, "dit-100.safetensors", 18)],
            KeptWeights.Find(folder.Path));
        Assert.Equal("dit-40.safetensors", KeptWeights.FileName(40));
    }
}
