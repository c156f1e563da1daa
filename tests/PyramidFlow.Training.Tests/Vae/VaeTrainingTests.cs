using System.Text.Json;
using System.Text.Json.Nodes;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;
using PyramidFlow.Training.Tests.Data;
using PyramidFlow.Training.Tests.Loop;
using PyramidFlow.Training.Vae;
using PyramidFlow.Testing;

namespace PyramidFlow.Training.Tests.Vae;

public sealed class VaeTrainingTests : IDisposable
{
    private static readonly CausalVideoVaeConfig Small = CausalVideoVaeConfig.Uniform([2, 2, 4, 4], 1, 1, latentChannels: 4, groups: 2);

    private readonly MediaFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Fact]
    public async Task Videos_and_images_in_windows_with_a_discriminator_give_a_folder_in_the_released_layout()
    {
        var config = await Config(("windows", 2), ("checkpoint_ratio", 1), ("average_decay", 0.9), ("sample_every", 3),
            ("discriminator", new JsonObject { ["start"] = 2, ["layers"] = 1, ["width"] = 2 }));
        var faults = VaeTraining.Run(config, folder.File("run"), null, Ct);
        Assert.Empty(faults);

        using var vae = Open("run");
        Assert.Contains("\"_class_name\": \"CausalVideoVAE\"", File.ReadAllText(folder.File("run", "causal_video_vae", "config.json")), StringComparison.Ordinal);
        var image = await ImageReader.ReadAsync(folder.File("run", "samples", "step-00000003.png"), cancellationToken: Ct);
        Assert.Equal((2 + (4 * 34), 2 + (2 * 18)), (image.Width, image.Height));
        var metrics = File.ReadLines(folder.File("run", "metrics.jsonl")).Select(line => JsonDocument.Parse(line).RootElement).ToList();
        Assert.Contains(metrics, line => line.TryGetProperty("psnr", out var psnr) && psnr.GetDouble() > 0);
        var judged = metrics.Where(line => line.TryGetProperty("adversarial_weight", out _))
            .ToDictionary(line => line.GetProperty("step").GetInt32(), line => line.GetProperty("adversarial_weight").GetDouble());
        Assert.Equal(0, judged[2]);
        Assert.True(judged[3] > 0);
    }

    [Fact]
    public async Task A_run_that_goes_on_ends_in_the_bits_of_one_that_was_not_stopped()
    {
        var judge = new JsonObject { ["start"] = 1, ["layers"] = 1, ["width"] = 2 };
        VaeTraining.Run(await Config(("discriminator", judge.DeepClone())), folder.File("whole"), null, Ct);
        VaeTraining.Run(await Config(("discriminator", judge.DeepClone()), ("steps", 2)), folder.File("parts"), null, Ct);
        VaeTraining.Run(await Config(("discriminator", judge.DeepClone())), folder.File("parts"), null, Ct);
        foreach (var name in new[] { Path.Combine("causal_video_vae", "diffusion_pytorch_model.safetensors"), "discriminator.safetensors" })
            Assert.Equal(File.ReadAllBytes(folder.File("whole", name)), File.ReadAllBytes(folder.File("parts", name)));
    }

    [Fact]
    public async Task Training_makes_held_out_clips_better()
    {
        var config = VaeConfig.Load(await Config(("steps", 40), ("learning_rate", 0.01), ("checkpoint_every", 1000)));
        using var generator = new RandomGenerator(1);
        using var vae = new CausalVideoVae(Small);
        vae.Initialize(generator);
        using var loss = new VaeLoss(new VaeLossOptions { PerceptualWeight = 0, AdversarialFactor = 0 }, null, null);
        Func<Tensor> held = () => Tensor.Full([1, 3, 9, 16, 16], 0.4);
        using var training = new VaeTrainer(config, new RunFolder(folder.File("run")), vae, loss, null, number => Tensor.Full([2, 3, 9, 16, 16], 0.2 + (0.1 * (number % 5))), [held]);
        var before = training.Publish()[0].Value;
        new TrainingLoop(config, training, new RunFolder(folder.File("run"))).Run(null, Ct);
        var after = training.Publish()[0].Value;
        Assert.True(after > before + 3, $"{before} dB became {after} dB");
    }

    [Fact]
    public async Task What_cannot_fit_is_refused_before_the_run_begins_and_planned_for_data_that_is_not_there()
    {
        var config = await Config(("image_batch", 200_000_000));
        var error = Assert.Throws<TrainingException>(() => VaeTraining.Run(config, folder.File("refused"), null, Ct));
        FaultAssert.Is(error, TrainingFault.MachineTooSmallCode, ("phase", "a step"));
        Assert.Equal("batch", error.Parameters["remedies"]);

        var there = VaeTraining.Plan(await Config(), 1, null, Ct);
        var absent = VaeTraining.Plan(new TrainingConfigSource(await Config(), [new ConfigSetting("data.annotations", "\"none.jsonl\"")]), 1, null, Ct);
        Assert.Equal((6L, null), (there.Items, absent.Items));
        Assert.Equal((there.Plan.PeakBytes, there.Plan.StateBytes), (absent.Plan.PeakBytes, absent.Plan.StateBytes));
        Assert.Null(there.Fault);
    }

    [Fact]
    public async Task A_frozen_encoder_stays_that_of_the_start_while_the_decoder_learns()
    {
        VaeTraining.Run(await Config(), folder.File("first"), null, Ct);
        VaeTraining.Run(await Config(("start_from", folder.File("first")), ("freeze_encoder", true), ("checkpoint_ratio", 1), ("vae", null)), folder.File("second"), null, Ct);
        using var first = Open("first");
        using var second = Open("second");
        foreach (var ((key, a), (_, b)) in first.NamedParameters().Zip(second.NamedParameters()))
        {
            if (key.StartsWith("encoder.", StringComparison.Ordinal) || key.StartsWith("quant_conv.", StringComparison.Ordinal))
                Assert.Equal(a.Value.ToArray<float>(), b.Value.ToArray<float>());
        }

        Assert.NotEqual(first.LastWeight.Value.ToArray<float>(), second.LastWeight.Value.ToArray<float>());
    }

    [Fact]
    public async Task Paths_are_seen_from_the_configuration_and_a_run_goes_on_by_its_own_copy()
    {
        var config = await Config(("steps", 2));
        VaeTraining.Run(config, folder.File("first"), null, Ct);
        var annotations = JsonNode.Parse(File.ReadAllText(config))!["data"]!["annotations"]!.GetValue<string>();
        var relative = Path.GetFileName(annotations);
        config = await Config(("start_from", "first"), ("vae", null), ("steps", 2), ("data.annotations", relative));
        // A comment, as people write them.
        File.WriteAllText(config, "// mine\n" + File.ReadAllText(config));
        VaeTraining.Run(config, folder.File("runs", "second"), null, Ct);

        var copy = folder.File("runs", "second", "config.json");
        var text = File.ReadAllText(copy);
        Assert.StartsWith("// mine\n", text, StringComparison.Ordinal);
        Assert.Contains("\"start_from\":\"../../first\"", text, StringComparison.Ordinal);
        Assert.Contains($"\"annotations\":\"../../{relative}\"", text, StringComparison.Ordinal);
        File.WriteAllText(copy, text.Replace("\"steps\":2", "\"steps\":4", StringComparison.Ordinal));
        VaeTraining.Run(copy, folder.File("runs", "second"), null, Ct);
        Assert.Contains("\"step\":4", File.ReadAllText(folder.File("runs", "second", "metrics.jsonl")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Convolutions_in_bfloat16_train_weights_in_float32()
    {
        VaeTraining.Run(await Config(("precision", "bfloat16"), ("steps", 2)), folder.File("run"), null, Ct);
        using var weights = WeightsFile.Open(folder.File("run", "causal_video_vae"));
        Assert.All(weights.Keys, key => Assert.Equal(ElementType.Float32, weights.Describe(key).Type));
    }

    [Fact]
    public async Task Two_processes_end_in_the_same_bits_with_every_shard()
    {
        // Two parts: the discriminator has no average.
        var names = Enum.GetNames<SharedState>().Select(name => name.ToLowerInvariant()).ToList();
        foreach (var shard in names)
        {
            var config = await Config(("shard", shard), ("discriminator", new JsonObject { ["start"] = 1, ["layers"] = 1, ["width"] = 8 }));
            await Ranks.RunAsync(2, folder.File($"{shard}.store"), group => VaeTraining.Run(config, folder.File(shard), null, Ct, group));
        }

        foreach (var file in new[] { "state-00000004.safetensors", "discriminator.safetensors", Path.Combine("causal_video_vae", "diffusion_pytorch_model.safetensors") })
            Assert.All(names, shard => Assert.Equal(File.ReadAllBytes(folder.File(names[0], file)), File.ReadAllBytes(folder.File(shard, file))));
    }

    [Fact]
    public async Task Damaged_items_are_named_and_the_run_goes_on()
    {
        var bad = folder.Write("bad.mp4", [1, 2, 3, 4]);
        var faults = VaeTraining.Run(await Config(extra: new { video = bad }), folder.File("run"), null, Ct);
        Assert.Contains(faults, line => line.Contains("bad.mp4", StringComparison.Ordinal));
        Assert.Equal(bad, JsonElement.Parse(Assert.Single(File.ReadLines(folder.File("run", LeftOutFile.Name)))).GetProperty("item").GetString());
    }

    [Fact]
    public async Task What_cannot_work_is_refused_before_any_work()
    {
        FaultAssert.Is(await Refused<CheckpointException>(("perceptual_weight", 1), ("lpips", folder.File("vgg_lpips.pth"))),
            "file_missing", ("file", folder.File("vgg_lpips.pth")));
        FaultAssert.Is(await Refused<TrainingException>(("perceptual_weight", 1)), "lpips_missing", ("perceptual_weight", 1.0));
        FaultAssert.Is(await Refused<CheckpointException>(("start_from", folder.File("nowhere"))), "folder_missing", ("folder", folder.File("nowhere")));
        FaultAssert.Is(await Refused<CheckpointException>(("start_from", Directory.CreateDirectory(folder.File("empty")).FullName)),
            "no_vae", ("folder", folder.File("empty")), ("component", "causal_video_vae"));
        FaultAssert.Is(await Refused<TrainingException>(("windows", 3), ("data.frames", new JsonArray(33))), "windows_misfit", ("frames", 33L), ("below", 25L), ("above", 49L));
        FaultAssert.Is(await Refused<TrainingException>(("discriminator", new JsonObject())), "clips_too_small", ("least_side", 48));
        FaultAssert.Is(await Refused<TrainingException>(("held_out", 100)), "held_out_all", ("held_out", 100));
        FaultAssert.Is(await Refused<TrainingException>(("batch", 0)), "config_value_invalid", ("key", "batch"), ("value", 0));
        FaultAssert.Is(await Refused<TrainingException>(("workers", 2)), "config_value_invalid", ("key", "workers"), ("value", 2));
    }

    private async Task<T> Refused<T>(params (string Key, JsonNode? Value)[] changes)
        where T : Exception
    {
        var config = await Config(changes);
        var error = Assert.ThrowsAny<T>(() => VaeTraining.Run(config, folder.File("refused"), null, Ct));
        Assert.False(Directory.Exists(folder.File("refused")));
        return error;
    }

    private CausalVideoVae Open(string run)
    {
        var component = VaeFolder.Find(folder.File(run));
        var vae = new CausalVideoVae(CausalVideoVaeConfig.Read(component.ConfigFile));
        using var weights = component.OpenWeights();
        vae.Load(weights);
        return vae;
    }

    private Task<string> Config(params (string Key, JsonNode? Value)[] changes) => Config(null, changes);

    private async Task<string> Config(object? extra, params (string Key, JsonNode? Value)[] changes)
    {
        List<object> lines = extra is null ? [] : [extra];
        for (var i = 0; i < 3; i++)
        {
            lines.Add(new { video = File.Exists(folder.File($"{i}.mp4")) ? folder.File($"{i}.mp4") : await folder.VideoAsync($"{i}.mp4", 18 + i, 16, 16) });
            lines.Add(new { image = folder.Image($"{i}.png", 16, 16, (byte)(40 * i)) });
        }

        var config = new JsonObject
        {
            ["data"] = new JsonObject { ["annotations"] = folder.Annotate([.. lines]), ["sizes"] = new JsonArray("16x16"), ["frames"] = new JsonArray(17), ["image_share"] = 0.5, ["prefetch"] = 0 },
            ["vae"] = JsonNode.Parse(Small.ToJson()), ["seed"] = 3, ["steps"] = 4, ["batch"] = 1, ["image_batch"] = 2, ["held_out"] = 2,
            ["learning_rate"] = 1e-3, ["schedule"] = "constant", ["warm_up_steps"] = 0, ["perceptual_weight"] = 0, ["log_every"] = 1, ["checkpoint_every"] = 2,
        };
        foreach (var (key, value) in changes)
        {
            var parts = key.Split('.');
            var at = parts.SkipLast(1).Aggregate((JsonNode)config, (node, part) => node[part]!);
            at[parts[^1]] = value?.DeepClone();
        }

        return folder.AnnotateAs("config.json", config.ToJsonString());
    }
}
