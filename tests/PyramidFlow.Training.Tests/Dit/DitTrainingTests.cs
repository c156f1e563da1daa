using PyramidFlow.Cli.Tests;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Tests.Data;
using PyramidFlow.Training.Tests.Loop;

namespace PyramidFlow.Training.Tests.Dit;

public sealed class DitTrainingTests(TinyModel model) : IClassFixture<TinyModel>, IDisposable
{
    private readonly OwnDataRuns runs = new();

    private MediaFolder Media => runs.Media;

    public void Dispose() => runs.Dispose();

    [Fact]
    public async Task Videos_and_images_train_a_model_that_fits_its_folder()
    {
        var annotations = await runs.SomeMediaAsync();
        var config = OwnDataRuns.Config(model.Folder, annotations, "\"accumulation\": 2, \"steps\": 2");
        Assert.Empty(Train(config, "run"));

        // The trained component takes the place of the model's own and is loaded by its config.
        var component = new ComponentFolder("diffusion_transformer", Media.File("run", "diffusion_transformer"));
        using var trained = TransformerConfigs.Load(component.ConfigFile).Build();
        using (var weights = component.OpenWeights())
            trained.Load(weights);
        Assert.Contains(runs.Metrics("run"), line => line.GetProperty("loss_1").GetDouble() > 0);
        Assert.True(runs.Metrics("run").Last().GetProperty("tokens_per_second").GetDouble() > 0);
    }

    [Fact]
    public async Task A_stopped_run_on_media_ends_in_the_bits_of_a_whole_one()
    {
        var annotations = await runs.SomeMediaAsync();
        Train(OwnDataRuns.Config(model.Folder, annotations), "whole");
        Train(OwnDataRuns.Config(model.Folder, annotations), "parts", new OwnDataRuns.StopAfter(1));
        Assert.EndsWith("state-00000001.safetensors", new RunFolder(Media.File("parts")).LatestState!, StringComparison.Ordinal);
        Train(OwnDataRuns.Config(model.Folder, annotations), "parts");
        Assert.Equal(Weights("whole"), Weights("parts"));
    }

    [Fact]
    public async Task A_run_of_whole_micro_batches_is_the_same_on_one_process_and_on_two()
    {
        var config = OwnDataRuns.ExtractedConfig(runs.Bare("flux", seed: 5), runs.Extracted(6), "\"batches_per_step\": 2, \"held_out\": 0").Replace("\"prefetch\": 0", "\"prefetch\": 2", StringComparison.Ordinal);
        Train(config, "one");
        await Ranks.RunAsync(2, Media.File("store"), group =>
            DitTraining.Run(Media.File("one.json"), Path.GetDirectoryName(Media.File("two", "x"))!, null, TestContext.Current.CancellationToken, group));

        var (one, two) = (runs.Metrics("one"), runs.Metrics("two"));
        Assert.Equal(one.Count, two.Count);
        Assert.All(one.Zip(two), pair => Assert.Equal(pair.First.GetProperty("loss").GetDouble(), pair.Second.GetProperty("loss").GetDouble(), 1e-6));
        Assert.All(one.Zip(two), pair => Assert.Equal(pair.First.GetProperty("gradient_norm").GetDouble(), pair.Second.GetProperty("gradient_norm").GetDouble(), 1e-5));
    }

    [Theory]
    [InlineData("flux", "autoregressive")]
    [InlineData("flux", "full_sequence")]
    [InlineData("mmdit", "autoregressive")]
    [InlineData("mmdit", "full_sequence")]
    public void Both_families_learn_from_extracted_latents_and_features(string family, string objective)
    {
        var config = OwnDataRuns.ExtractedConfig(runs.Bare(family), runs.Extracted(), "\"from_scratch\": true, "
            + $"\"steps\": 12, \"objective\": \"{objective}\", \"learning_rate\": 0.01, \"warm_up_steps\": 0, \"log_every\": 3");
        Train(config, "run");
        var losses = runs.Metrics("run").Select(line => line.GetProperty("loss").GetDouble()).ToList();
        Assert.True(losses[^1] < 0.9 * losses[0], string.Join(", ", losses));
    }

    [Theory]
    [InlineData("\"objectiv\": 1", "config_key_unknown", "key=objectiv nearest=objective")]
    [InlineData("\"batch\": 6", "batch_not_dealt", "batch=6 workers=1 multiple=4")]
    [InlineData("\"captions\": \"features\"", "features_of_media")]
    [InlineData("\"captions\": \"none\"", "config_value_invalid", "key=captions value=none")]
    [InlineData("\"vae_window\": 12", "config_value_invalid", "key=vae_window value=12 multiple=8")]
    [InlineData("\"sample_every\": 2", "samples_missing", "sample_every=2")]
    [InlineData("\"samples\": { \"prompts\": [\"a\"] }", "sample_every_missing")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompts\": [] }", "samples_without_prompts")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompts\": [\"a\"], \"size\": \"big\" }", "size_malformed", "size=big")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompts\": [\"a\"], \"frames\": 4 }", "samples_impossible")]
    [InlineData("\"sample_every\": 2, \"samples\": { \"prompt\": [\"a\"] }", "config_key_unknown", "key=prompt section=samples nearest=prompts")]
    [InlineData("\"device\": \"tpu\"", "device_unknown", "device=tpu")]
    public void Impossible_configurations_are_refused_in_one_sentence(string addition, string code, string parameters = "")
    {
        var error = Assert.Throws<TrainingException>(() => Train(OwnDataRuns.Config(model.Folder, "none.jsonl", addition), "run"));
        FaultAssert.Has(error, code, parameters);
    }

    [Fact]
    public void The_features_of_the_empty_caption_need_no_text_encoder_where_extraction_has_left_them()
    {
        // A folder without text encoders.
        var (folder, annotations) = (runs.Bare("flux", seed: 3), runs.Extracted());
        var config = OwnDataRuns.Config(folder, annotations, "\"input\": \"latents\", \"captions\": \"features\", \"text_drop\": 0.5, \"seed\": 1");
        Assert.Throws<PyramidFlow.Torch.CheckpointException>(() => Train(config, "without"));

        File.Copy(Media.File("0.text.safetensors"), Media.File(TextExtraction.EmptyName));
        Train(config, "with");
        Train(config.Replace("0.5", "0", StringComparison.Ordinal), "never");
        Assert.NotEqual(Weights("never"), Weights("with"));
    }

    [Fact]
    public void What_cannot_fit_is_refused_before_weights_are_read()
    {
        // A folder without weights.
        var config = OwnDataRuns.ExtractedConfig(runs.Bare("flux"), runs.Extracted(), "\"batch\": 1000000000, \"sample_ratios\": [1, 0, 0]");
        var error = Assert.Throws<TrainingException>(() => Train(config, "run"));
        FaultAssert.Is(error, "training_too_large", ("phase", "a step"));
        Assert.Contains("batch", (string)error.Parameters["remedies"]!, StringComparison.Ordinal);
        Assert.Empty(Directory.GetFiles(Media.File("run")));
    }

    [Theory]
    [InlineData("flux", "float32", 0.0)]
    [InlineData("flux", "bfloat16", 1.0)]
    [InlineData("mmdit", "float32", 0.5)]
    public void The_first_line_says_the_peak_of_the_tensors_within_a_tenth(string family, string precision, double ratio)
    {
        ITransformerConfig network = family == "flux"
            ? new PyramidFluxConfig(16, 2, 4, 32, 6, 32, 32, [8, 12, 12])
            : new PyramidMmditConfig(4, 4, 32, 6, CaptionProjectionDim: 192, 32, 32, PosEmbedMaxSize: 16);
        var annotations = runs.Extracted(side: 24);
        var folder = runs.Bare(family, seed: 5, network);
        File.WriteAllText(Media.File("c.json"), OwnDataRuns.ExtractedConfig(folder, annotations, $"\"batch\": 16, \"precision\": \"{precision}\", \"checkpoint_ratio\": {ratio}, \"average_decay\": 0.9")
            .Replace("64x64", "192x192", StringComparison.Ordinal));
        var plan = DitTraining.Plan(Media.File("c.json"), DitKind.Whole, 1, null, TestContext.Current.CancellationToken).Plan;
        var line = new FirstLine();
        var before = Torch.TorchRuntime.CpuMemory.InUse;
        Torch.TorchRuntime.ResetPeak();
        DitTraining.Run(Media.File("c.json"), Media.File("run"), line, TestContext.Current.CancellationToken);
        var measured = Torch.TorchRuntime.CpuMemory.Peak - before;
        Assert.Contains(FormattableString.Invariant($"planned peak of the process {plan.PeakBytes / (double)(1 << 20):F0} MiB"), line.Text, StringComparison.Ordinal);

        // Captions are three words long, and items that are read ahead are no tensors.
        var tensors = new DitPlan(DitConfig.Load(Media.File("c.json")), DitModel.Of(CheckpointFolder.Open(folder), null), [(new Bucket(192, 192, 17), 1)], 1, Torch.Device.Cpu) { TextTokens = 3 }.Compute()
            .Phases.Max(phase => phase.Parts.Where(part => part.Name is not ("program" or "items read ahead") && part.Kind != PlannedKind.Mapped).Sum(part => part.Bytes));
        TestContext.Current.TestOutputHelper?.WriteLine(FormattableString.Invariant($"{family} {precision} {ratio}: planned {tensors / 1e6:F1} MB, measured {measured / 1e6:F1} MB, {((double)tensors / measured) - 1:+0.0%;-0.0%}"));
        Assert.InRange((double)tensors / measured, 0.9, 1.1);
    }

    private sealed class FirstLine : IProgress<TrainingProgress>
    {
        public string Text { get; private set; } = "";

        public void Report(TrainingProgress value) => Text = value.IsLasting ? value.Note! : Text;
    }

    private IReadOnlyList<string> Train(string config, string name, OwnDataRuns.StopAfter? stop = null) => runs.Train(DitTraining.Run, config, name, stop);

    private byte[] Weights(string name) => File.ReadAllBytes(Media.File(name, "diffusion_transformer", "diffusion_pytorch_model.safetensors"));
}
