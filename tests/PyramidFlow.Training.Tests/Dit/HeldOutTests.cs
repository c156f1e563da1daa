using System.Text.Json;
using PyramidFlow.Cli.Tests;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Loop;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>Items that a transformer's training holds out, and their loss.</summary>
public sealed class HeldOutTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private const string Learns = "\"learning_rate\": 0.01, \"warm_up_steps\": 0, \"checkpoint_every\": 2, \"steps\": 5, \"average_decay\": 0.5";
    private const string Lora = "\"lora\": { \"rank\": 4, \"alpha\": 8, \"targets\": [\"to_q\", \"to_v\", \"proj_out\"] }";

    private readonly OwnDataRuns runs = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => runs.Dispose();

    [Fact]
    public void No_batch_has_a_held_out_item()
    {
        const int items = 40, channels = 4;
        List<object> lines = [];
        using (var scope = new TensorScope())
        {
            for (var i = 0; i < items; i++)
            {
                SafetensorsWriter.Write(runs.Media.File($"{i}.safetensors"), [("latent", Tensor.Full([1, channels, 2, 2, 2], i))]);
                lines.Add(new { latent = $"{i}.safetensors", text = "a ball" });
            }
        }

        runs.Media.Annotate([.. lines]);
        File.WriteAllText(runs.Media.File("config.json"), $$"""{ "model": "m", "input": "latents", "data": { "annotations": "{{runs.Media.File("all.jsonl")}}" } }""");
        var config = DitConfig.Load(runs.Media.File("config.json"));
        using var batches = DitBatches.Open(config, new BatchPlanOptions(3, 4), channels, new FaultLog(), Ct);
        Assert.Equal(2, batches.HeldOut.Items.Count);

        var (seen, heldOut) = (new HashSet<float>(), new HashSet<float>());
        for (var item = 0; item < 2; item++)
        {
            using var scope = new TensorScope();
            heldOut.Add(Assert.Single(batches.ReadHeldOut(item)!.Content.ToArray<float>().Distinct()));
        }

        for (var number = 0; number < 60; number++)
        {
            using var scope = new TensorScope();
            seen.UnionWith(batches.Batch(number).Content.ToArray<float>());
        }

        Assert.Equal([10f, 30], heldOut.Order());
        Assert.Equal(Enumerable.Range(0, items).Select(i => (float)i).Except(heldOut), seen.Order());
    }

    [Theory]
    [InlineData("flux", "\"objective\": \"autoregressive\"")]
    [InlineData("mmdit", "\"objective\": \"full_sequence\"")]
    [InlineData("flux", "\"sample_ratios\": [0, 0, 1], \"checkpoint_ratio\": 1")]
    public void A_stopped_run_measures_the_same_to_the_bit(string family, string addition)
    {
        var config = OwnDataRuns.ExtractedConfig(runs.Bare(family), runs.Extracted(12), $"\"from_scratch\": true, {Learns}, {addition}");
        Train(config, "whole");
        var losses = Losses("whole");
        Assert.Equal([0, 2, 4, 5], losses.Select(line => line.Step));
        Assert.True(losses[^1].Values[0] < losses[0].Values[0], "it learns");
        Train(config, "parts", new OwnDataRuns.StopAfter(3));
        Train(config, "parts");
        Assert.Equal(losses, Losses("parts"), (a, b) => a.Step == b.Step && a.Values.SequenceEqual(b.Values));
        foreach (var file in new[] { "state-00000005.safetensors", "best/diffusion_transformer/diffusion_pytorch_model.safetensors", "best/run.json" })
            Assert.Equal(File.ReadAllBytes(runs.Media.File("whole", file)), File.ReadAllBytes(runs.Media.File("parts", file)));

        // The first line tells of them, and the folder of the best is a run to pipelines.
        Assert.Contains("\"held_out\": \"1\"", File.ReadAllText(runs.Media.File("whole", "run.json")), StringComparison.Ordinal);
        var best = RunParts.Find(runs.Media.File("whole", "best"), CheckpointNames.Transformer);
        Assert.NotNull(RunParts.Settings(best));
    }

    [Fact]
    public void The_same_weights_have_the_same_loss_whatever_was_trained_before()
    {
        var (folder, data) = (runs.Bare("flux", seed: 5), runs.Extracted(12));
        foreach (var (name, seed, batch) in new[] { ("a", 1, 4), ("b", 2, 8) })
            Train(OwnDataRuns.ExtractedConfig(folder, data, $"{Learns}, \"seed\": {seed}, \"batch\": {batch}"), name);
        Assert.Equal(Losses("a")[0].Values, Losses("b")[0].Values);
        Assert.NotEqual(Losses("a")[^1].Values, Losses("b")[^1].Values);
    }

    [Fact]
    public void A_run_of_an_earlier_version_goes_on_with_all_items()
    {
        var config = OwnDataRuns.ExtractedConfig(runs.Bare("flux"), runs.Extracted(12), $"\"from_scratch\": true, {Learns}");
        Train(config.Replace("\"steps\": 5", "\"held_out\": 0, \"steps\": 5", StringComparison.Ordinal), "whole");
        Train(config.Replace("\"steps\": 5", "\"held_out\": 0, \"steps\": 5", StringComparison.Ordinal), "parts", new OwnDataRuns.StopAfter(3));
        var run = new RunFolder(runs.Media.File("parts"));
        using (var scope = new TensorScope())
        {
            // As the earlier version wrote it.
            using var state = SafetensorsFile.Open(run.LatestState!);
            Assert.Equal("0", state.Metadata["held_out"]);
            SafetensorsWriter.Write(run.LatestState! + ".new", [.. state.Entries.Keys.Select(key => (key, state.Read(key)))],
                state.Metadata.Where(pair => pair.Key != "held_out").ToDictionary(pair => pair.Key, pair => pair.Value));
        }

        File.Move(run.LatestState! + ".new", run.LatestState!, overwrite: true);
        Train(config, "parts");
        foreach (var file in new[] { "state-00000005.safetensors", "diffusion_transformer/diffusion_pytorch_model.safetensors" })
            Assert.Equal(File.ReadAllBytes(runs.Media.File("whole", file)), File.ReadAllBytes(runs.Media.File("parts", file)));
        Assert.Empty(Losses("parts"));
    }

    [Fact]
    public async Task Two_processes_measure_the_same_lora_with_every_shard()
    {
        var (folder, data) = (runs.Bare("flux", seed: 5), runs.Extracted(12));
        var names = Enum.GetNames<SharedState>().Select(name => name.ToLowerInvariant()).ToList();
        foreach (var shard in names)
        {
            var config = runs.Media.File($"{shard}.json");
            await File.WriteAllTextAsync(config, OwnDataRuns.ExtractedConfig(folder, data, $"{Learns}, {Lora}, \"held_out\": 3, \"precision\": \"bfloat16\", \"shard\": \"{shard}\""), Ct);
            await Ranks.RunAsync(2, runs.Media.File($"{shard}.store"), group => DitTraining.RunLora(config, runs.Media.File(shard), null, Ct, group));
        }

        Assert.Equal([0, 2, 4, 5], Losses(names[0]).Select(line => line.Step));
        Assert.All(names, shard => Assert.Equal(Losses(names[0]), Losses(shard), (a, b) => a.Step == b.Step && a.Values.SequenceEqual(b.Values)));
        foreach (var file in new[] { "state-00000005.safetensors", $"best/{LoraFile.Name}", "best/run.json" })
            Assert.All(names, shard => Assert.Equal(File.ReadAllBytes(runs.Media.File(names[0], file)), File.ReadAllBytes(runs.Media.File(shard, file))));

        // A small file, which --lora takes from its folder.
        Assert.Equal(2, Directory.GetFiles(runs.Media.File(names[0], "best"), "*", SearchOption.AllDirectories).Length);
        Assert.EndsWith(Path.Combine("best", LoraFile.Name), LoraPlace.Find(runs.Media.File(names[0], "best")).File, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Videos_and_pictures_are_measured_without_gradients_or_tensors_left()
    {
        var live = Tensor.LiveCount;
        var config = OwnDataRuns.Config(model.Folder, await runs.SomeMediaAsync(), "\"held_out\": 2, \"checkpoint_every\": 1, \"steps\": 2, \"text_drop\": 1");
        Assert.Empty(runs.Train(DitTraining.Run, config, "run"));
        Assert.Equal(live, Tensor.LiveCount);
        Assert.Equal([0, 1, 2], Losses("run").Select(line => line.Step));
        Assert.All(Losses("run"), line => Assert.All(line.Values, value => Assert.True(double.IsFinite(value))));
        FaultAssert.Has(Assert.Throws<TrainingException>(() => runs.Train(DitTraining.Run, config.Replace("\"held_out\": 2", "\"held_out\": 3", StringComparison.Ordinal), "none")),
            "held_out_all", "held_out=3");
    }

    [Fact]
    public void A_held_out_item_that_cannot_be_read_is_left_out()
    {
        var data = runs.Extracted(12);
        using (var scope = new TensorScope())
            SafetensorsWriter.Write(runs.Media.File("6.safetensors"), [("latent", Tensor.Full([1, 4, 3, 8, 8], double.NaN))]);
        var config = OwnDataRuns.ExtractedConfig(runs.Bare("flux"), data, $"\"from_scratch\": true, {Learns}, \"held_out\": 2");
        foreach (var (heldOut, isBad) in new[] { (1, true), (2, false) })
        {
            var name = $"run-{heldOut}";
            var notes = runs.Train(DitTraining.Run, config.Replace("\"held_out\": 2", $"\"held_out\": {heldOut}", StringComparison.Ordinal), name);
            if (isBad)
            {
                Assert.Contains(notes, note => note.Contains("6.safetensors", StringComparison.Ordinal));
                Assert.All(runs.Metrics(name).Where(line => line.TryGetProperty("held_out_loss", out _)), line => Assert.Equal(JsonValueKind.Null, line.GetProperty("held_out_loss").ValueKind));
                Assert.False(Directory.Exists(runs.Media.File(name, "best")));
            }
            else
            {
                Assert.Equal(4, Losses(name).Count);
            }
        }
    }

    private void Train(string config, string name, OwnDataRuns.StopAfter? stop = null) => runs.Train(DitTraining.Run, config, name, stop);

    private List<(long Step, double[] Values)> Losses(string name) => [.. runs.Metrics(name).Where(line => line.TryGetProperty("held_out_loss", out _))
        .Select(line => (line.GetProperty("step").GetInt64(), line.EnumerateObject().Where(member => member.Name.StartsWith("held_out_loss", StringComparison.Ordinal))
            .Select(member => member.Value.GetDouble()).ToArray()))];
}
