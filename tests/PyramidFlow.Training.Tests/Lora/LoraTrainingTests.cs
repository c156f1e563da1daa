using PyramidFlow.Models.Lora;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Dit;
using PyramidFlow.Training.Tests.Loop;
using PyramidFlow.Testing;

namespace PyramidFlow.Training.Tests.Lora;

/// <summary>A LoRA on data of one's own; <c>TrainDataTests</c> of the command trains one on media and generates with it.</summary>
public sealed class LoraTrainingTests : IDisposable
{
    private const string Learns = "\"learning_rate\": 0.02, \"warm_up_steps\": 0, \"lora\": { \"rank\": 4, \"alpha\": 8, \"targets\": [\"to_q\", \"to_v\", \"proj_out\"] }";

    private readonly OwnDataRuns runs = new();

    public void Dispose() => runs.Dispose();

    [Theory]
    [InlineData("flux", "float32")]
    [InlineData("flux", "bfloat16")]
    [InlineData("mmdit", "float32")]
    [InlineData("mmdit", "bfloat16")]
    public void Both_families_learn_in_the_named_layers_only(string family, string precision)
    {
        var model = runs.Bare(family, seed: 5);
        Train(model, $"{Learns}, \"steps\": 12, \"log_every\": 3, \"precision\": \"{precision}\"", "run");

        var losses = runs.Metrics("run").Select(line => line.GetProperty("loss").GetDouble()).ToList();
        Assert.True(losses[^1] < 0.9 * losses[0], string.Join(", ", losses));
        Assert.False(Directory.Exists(Path.Combine(Path.GetDirectoryName(runs.Media.File("run", "x"))!, "diffusion_transformer")));
        using (var file = SafetensorsFile.Open(Lora("run")))
            Assert.All(file.Entries.Keys, key => Assert.Matches(@"^transformer\.(.+\.)?(to_q|to_v|proj_out)\.lora_[AB]\.weight$", key));

        using var scope = new TensorScope();
        using var transformer = OwnDataRuns.Transformer(family).Build();
        using (var weights = SafetensorsFile.Open(Path.Combine(model, "diffusion_transformer_384p", "diffusion_pytorch_model.safetensors")))
            transformer.Load(weights);
        var before = transformer.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter.Value.ToArray<float>());
        LoraFile.Merge(transformer, Lora("run"));
        var changed = transformer.NamedParameters().Where(p => !p.Parameter.Value.ToArray<float>().SequenceEqual(before[p.Key])).Select(p => p.Key).ToList();
        Assert.Contains("proj_out.weight", changed);
        Assert.All(changed, key => Assert.Matches(@"(^|\.)(to_q|to_v|proj_out)\.weight$", key));
    }

    [Fact]
    public void A_stopped_run_of_two_workers_ends_in_the_bits_of_a_whole_one()
    {
        var threads = TorchRuntime.Threads;
        TorchRuntime.Threads = 1;
        var (model, addition) = (runs.Bare("mmdit", seed: 5), $"{Learns}, \"workers\": 2, \"batch\": 8");
        Train(model, addition, "whole");
        Train(model, addition, "parts", new OwnDataRuns.StopAfter(1));
        Assert.True(File.Exists(runs.Media.File("parts", "state-00000001.safetensors")));
        Train(model, addition, "parts");
        TorchRuntime.Threads = threads;
        foreach (var file in new[] { "state-00000003.safetensors", LoraFile.Name })
            Assert.Equal(File.ReadAllBytes(runs.Media.File("whole", file)), File.ReadAllBytes(runs.Media.File("parts", file)));

        // Another base, another rank: another run.
        Refused(runs.Bare("mmdit", seed: 6), addition);
        Refused(model, addition.Replace("\"rank\": 4", "\"rank\": 2", StringComparison.Ordinal));

        void Refused(string folder, string other) =>
            FaultAssert.Is(Assert.Throws<CheckpointException>(() => Train(folder, other, "parts")), "state_of_other_run");
    }

    [Fact]
    public async Task Two_processes_end_in_the_same_bits_with_every_shard()
    {
        var (model, data) = (runs.Bare("flux", seed: 5), runs.Extracted());
        var names = Enum.GetNames<SharedState>().Select(name => name.ToLowerInvariant()).ToList();
        foreach (var shard in names)
        {
            var config = runs.Media.File($"{shard}.json");
            File.WriteAllText(config, OwnDataRuns.ExtractedConfig(model, data, $"{Learns}, \"precision\": \"bfloat16\", \"average_decay\": 0.9, \"shard\": \"{shard}\""));
            await Ranks.RunAsync(2, runs.Media.File($"{shard}.store"), group =>
                DitTraining.RunLora(config, Path.GetDirectoryName(runs.Media.File(shard, "x"))!, null, TestContext.Current.CancellationToken, group));
        }

        foreach (var file in new[] { "state-00000003.safetensors", LoraFile.Name })
            Assert.All(names, shard => Assert.Equal(File.ReadAllBytes(runs.Media.File(names[0], file)), File.ReadAllBytes(runs.Media.File(shard, file))));
    }

    [Fact]
    public void Impossible_configurations_are_refused()
    {
        var model = runs.Bare("flux", seed: 5);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Train(model, "\"lora\": { \"targets\": [\"to_nowhere\"] }", "run")), "unknown_lora_target", ("target", "to_nowhere"));
        FaultAssert.Is(Assert.IsType<CheckpointException>(Refused("\"lora\": { \"rank\": 0 }", "lora_invalid").InnerException), "lora_rank_invalid", ("rank", 0));
        Refused("\"lora\": { \"rnak\": 4 }", "config_key_unknown", "key=rnak section=lora nearest=rank");
        Refused("\"from_scratch\": true", "lora_from_scratch");
        FaultAssert.Is(Assert.Throws<TrainingException>(() => runs.Train(DitTraining.Run, OwnDataRuns.ExtractedConfig(model, runs.Extracted(), Learns), "run")), "config_of_lora");

        TrainingException Refused(string addition, string code, string parameters = "")
        {
            var error = Assert.Throws<TrainingException>(() => Train(model, addition, "run"));
            FaultAssert.Has(error, code, parameters);
            return error;
        }
    }

    private string Lora(string name) => runs.Media.File(name, LoraFile.Name);

    private void Train(string model, string addition, string name, OwnDataRuns.StopAfter? stop = null) =>
        runs.Train(DitTraining.RunLora, OwnDataRuns.ExtractedConfig(model, runs.Extracted(), addition), name, stop);
}
