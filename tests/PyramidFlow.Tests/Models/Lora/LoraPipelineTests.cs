using PyramidFlow.Models.Lora;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Lora;

public sealed class LoraPipelineTests : IDisposable
{
    private static readonly GenerationOptions Request = new() { Prompt = "a cat", Seed = 7, Frames = 1 };

    private readonly TensorScope scope = new();
    private readonly TemporaryFolder folder = new();
    private readonly string lora;

    public LoraPipelineTests()
    {
        TinyCheckpoint.Write(folder, ModelFamilies.Sd3);
        lora = Made("lora.safetensors", 9);
    }

    // Another for each seed.
    private string Made(string name, ulong seed)
    {
        using var generator = new RandomGenerator(seed);
        var config = new LoraConfig { Rank = 2 };
        using var model = TransformerConfigs.Load(folder.File("diffusion_transformer_384p", "config.json")).Build();
        model.Initialize(generator);
        LoraAdapters.Attach(model, config, generator);
        using var parameters = new FlatParameters(("", model));
        parameters.Values.NormalInPlace(0, 0.5, generator);
        LoraFile.Write(folder.File(name), parameters.Named(parameters.Values), config);
        return folder.File(name);
    }

    public void Dispose()
    {
        folder.Dispose();
        scope.Dispose();
    }

    [Fact]
    public void Loras_are_added_when_a_pipeline_is_loaded()
    {
        var plain = Latents([]);
        var with = Latents([new LoraUse(lora)]);
        Assert.NotEqual(plain.ToArray<float>(), with.ToArray<float>());
        var halves = Latents([new LoraUse(lora, 0.5), new LoraUse(lora, 0.5)]);
        Assert.InRange((with - halves).Abs().Max().Item(), 0, 1e-4 * with.Abs().Max().Item());
        Assert.InRange((plain - Latents([new LoraUse(lora), new LoraUse(lora, -1)])).Abs().Max().Item(), 0, 1e-4 * plain.Abs().Max().Item());
    }

    [Fact]
    public void A_missing_file_and_one_of_another_model_leave_nothing_loaded()
    {
        var before = Tensor.LiveCount;
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Latents([new LoraUse("none.safetensors")])), "file_missing", ("file", "none.safetensors"));
        SafetensorsWriter.Write(lora, [("elsewhere.lora_A.weight", Tensor.Ones([1, 2])), ("elsewhere.lora_B.weight", Tensor.Ones([2, 1]))]);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Latents([new LoraUse(lora)])), "lora_of_other_model", ("file", lora), ("layer", "elsewhere"));
        Assert.Equal(before + 2, Tensor.LiveCount);
    }

    [Fact]
    public void LoRAs_of_a_clip_give_what_a_pipeline_loaded_with_them_gives_and_leave_its_weights_as_they_are()
    {
        var (other, plain) = (Made("other.safetensors", 10), Latents([]));
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Loras = [new LoraUse(lora, 0.25)] });
        var before = Weights(pipeline);
        LoraUse[][] uses = [[new(other)], [new(other, 0.5), new(lora, -1)], [new(other)], []];
        foreach (var use in uses)
        {
            Assert.Equal(Latents([new LoraUse(lora, 0.25), .. use]).ToArray<float>(), Of(pipeline, use).ToArray<float>());
            Assert.Equal(before, Weights(pipeline));
        }

        Assert.Equal(2, pipeline.Models.Loras.Count);
        Assert.NotEqual(plain.ToArray<float>(), Of(pipeline, []).ToArray<float>());
    }

    [Fact]
    public void A_LoRA_that_cannot_be_added_leaves_the_weights_as_they_are_and_the_next_clip_is_made()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var (before, plain) = (Weights(pipeline), Of(pipeline, []).ToArray<float>());
        var elsewhere = folder.File("elsewhere.safetensors");
        SafetensorsWriter.Write(elsewhere, [("elsewhere.lora_A.weight", Tensor.Ones([1, 2])), ("elsewhere.lora_B.weight", Tensor.Ones([2, 1]))]);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => Of(pipeline, [new(lora), new(elsewhere)])), "lora_of_other_model", ("file", elsewhere), ("layer", "elsewhere"));
        FaultAssert.Is(Assert.Throws<RequestException>(() => Of(pipeline, [new(lora, double.NaN)])), "lora_weight_not_finite");
        Assert.Equal(0, pipeline.Models.Loras.Count);
        Assert.Equal(before, Weights(pipeline));
        Assert.Equal(plain, Of(pipeline, []).ToArray<float>());
    }

    [Fact]
    public void A_file_that_is_written_anew_is_another_LoRA()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var first = Of(pipeline, [new(lora)]).ToArray<float>();
        Made("lora.safetensors", 11);
        File.SetLastWriteTimeUtc(lora, DateTime.UtcNow.AddMinutes(1));
        Assert.NotEqual(first, Of(pipeline, [new(lora)]).ToArray<float>());
        Assert.Equal(Latents([new(lora)]).ToArray<float>(), Of(pipeline, [new(lora)]).ToArray<float>());
    }

    [Theory]
    [InlineData(Offload.Model)]
    [InlineData(Offload.Sequential)]
    public void LoRAs_of_a_clip_work_with_weights_that_are_read_again_and_again(Offload offload)
    {
        var expected = Latents([new LoraUse(lora)]).ToArray<float>();
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Offload = offload, LoraCacheBytes = 0 });
        var plain = Of(pipeline, []).ToArray<float>();
        // The own weight of a layer that a LoRA changes is not held beside the other one.
        var (touched, counts) = (Touched(pipeline), new List<int>());
        var watch = new ReportTo(report => counts.AddRange(report.Phase == GenerationPhase.Denoising ? [touched.Count(weight => weight.HasValue)] : []));
        Assert.Equal(expected, Of(pipeline, [new(lora)], watch).ToArray<float>());
        Assert.Equal(expected, Of(pipeline, [new(lora)], watch).ToArray<float>());
        Assert.NotEmpty(counts);
        Assert.All(counts, count => Assert.Equal(0, count));
        Assert.DoesNotContain(touched, weight => weight.HasValue);
        Assert.Equal(plain, Of(pipeline, []).ToArray<float>());
        Assert.Equal(0, pipeline.Models.Loras.Count);
    }

    [Fact]
    public void Models_of_the_caller_may_change_between_two_clips_and_nothing_is_kept_for_them()
    {
        using var loaded = VideoPipeline.Load(folder.Path);
        var models = loaded.Models;
        using (var pipeline = VideoPipeline.Of(models.Text, models.Transformer, models.Vae, loaded.Settings))
        {
            Of(pipeline, []).Dispose();
            var before = Tensor.LiveCount;
            Of(pipeline, [new(lora)]).Dispose();
            Assert.Equal(before, Tensor.LiveCount);
            foreach (var weight in Touched(loaded))
                weight.Value = weight.Value * 1.5;
            var changed = Of(pipeline, [new(lora)]).ToArray<float>();
            LoraFile.Merge(models.Transformer, lora);
            Assert.Equal(Of(pipeline, []).ToArray<float>(), changed);
        }
    }

    [Fact]
    public void Kept_weights_have_what_a_plan_leaves_of_the_memory()
    {
        var model = VideoPipeline.Load(folder.Path);
        var peak = RunMemory.Of(model.Model!, model.Plan(Request).Clip, ElementType.Float32, model.Plan(Request).Placement with { Offload = Offload.None }).Peak;
        model.Dispose();
        using var roomy = VideoPipeline.Load(folder.Path, new PipelineOptions { MaxMemory = 100 * peak });
        Of(roomy, [new(lora)]).Dispose();
        var bytes = roomy.Models.Loras.Bytes;
        Assert.True(bytes > 1);
        var room = roomy.Plan(Request);
        Assert.Equal(new PipelineOptions().LoraCacheBytes, room.Placement.LoraCacheBytes);

        // The same run in a plan that leaves one byte less than the kept weights take.
        Of(roomy, []).Dispose();
        Assert.Equal(1, roomy.Models.Loras.Count);
        var least = RunMemory.Of(roomy.Model!, room.Clip, ElementType.Float32, room.Placement).Peak;
        var tight = GenerationPlan.Of(room.Clips, roomy.Model!, room.Placement with { MaxMemory = least + bytes - 1 });
        Assert.Equal(bytes - 1, tight.Placement.LoraCacheBytes);
        roomy.GenerateAsync(tight, cancellationToken: TestContext.Current.CancellationToken).ToBlockingEnumerable(TestContext.Current.CancellationToken).Last();
        Assert.Equal(0, roomy.Models.Loras.Count);
    }

    [Fact]
    public void Adding_LoRAs_can_be_cancelled_and_a_clip_of_which_nothing_is_sampled_adds_none()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var before = Weights(pipeline);
        Assert.Throws<OperationCanceledException>(() => pipeline.Models.UseLoras([new(lora)], 0, new CancellationToken(true)));
        Assert.Equal(before, Weights(pipeline));
        // The second time all units are in the file.
        foreach (var count in new[] { 1, 0 })
        {
            using var resumed = VideoPipeline.Load(folder.Path);
            var plan = resumed.Plan(Request with { Loras = [new(lora)] }) with { ResumeFile = new ResumeFile(folder.File("units.safetensors")) };
            Assert.NotEmpty(resumed.GenerateAsync(plan, cancellationToken: TestContext.Current.CancellationToken).ToBlockingEnumerable(TestContext.Current.CancellationToken).ToList());
            Assert.Equal(count, resumed.Models.Loras.Count);
        }
    }

    [Fact]
    public void The_transformer_in_the_wider_type_has_the_same_LoRAs_while_they_are_added()
    {
        var options = new PipelineOptions();
        var checkpoint = options.Open(folder.Path);
        using var narrow = VideoPipeline.Load(folder.Path, options);
        using var with = VideoPipeline.Load(folder.Path, options with { Loras = [new(lora, 0.5)] });
        using var wider = new WiderModels(
            new ModelLoader(checkpoint, options, Device.Cpu, TransformerConfigs.Load(checkpoint.Transformer(null).ConfigFile), CausalVideoVaeConfig.Read(checkpoint.Vae.ConfigFile)), Device.Cpu);
        var (models, plain) = (narrow.Models with { Wider = wider }, Weights(narrow));
        using (models.UseLoras([new(lora, 0.5)], 0, TestContext.Current.CancellationToken))
            Assert.Equal(Weights(with), Weights(wider.Transformer()));
        Assert.Equal(plain, Weights(wider.Transformer()));
    }

    [Fact]
    public void A_fault_of_a_clips_LoRA_is_told_from_one_of_a_LoRA_that_the_model_is_loaded_with()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        Assert.True(Assert.Throws<CheckpointException>(() => Of(pipeline, [new(lora, 1e300)])).IsOfRequestedLora);
        Assert.True(Assert.Throws<CheckpointException>(() => Of(pipeline, [new(folder.File("none.safetensors"))])).IsOfRequestedLora);
        Assert.False(Assert.Throws<CheckpointException>(() => Latents([new LoraUse(lora, 1e300)])).IsOfRequestedLora);
    }

    [Fact]
    public void A_LoRA_does_not_fit_layers_that_are_int8_nor_settings_of_another_rank()
    {
        using var pipeline = VideoPipeline.Load(folder.Path);
        var transformer = pipeline.Models.Transformer;
        LoraFile.CheckLayers(transformer, lora);
        var plain = folder.File("plain", "lora.safetensors");
        Directory.CreateDirectory(folder.File("plain"));
        SafetensorsWriter.Write(plain, [("transformer_blocks.0.attn.to_q.lora_A.weight", Tensor.Ones([2, Touched(pipeline)[0].Shape[1]])), ("transformer_blocks.0.attn.to_q.lora_B.weight", Tensor.Ones([Touched(pipeline)[0].Shape[0], 2]))]);
        LoraFile.CheckLayers(transformer, plain);
        folder.Write("plain/adapter_config.json", "{\"r\": 3}");
        Assert.Equal("lora_rank_differs", Assert.Throws<CheckpointException>(() => LoraFile.CheckLayers(transformer, plain)).Code);
        Touched(pipeline)[0].Value = Touched(pipeline)[0].Value.To(ElementType.Int8);
        Assert.Equal("lora_on_int8", Assert.Throws<CheckpointException>(() => LoraFile.CheckLayers(transformer, lora)).Code);
    }

    private static Tensor Of(VideoPipeline pipeline, IReadOnlyList<LoraUse> loras, IProgress<GenerationProgress>? progress = null) =>
        pipeline.GenerateLatents(Request with { Loras = loras }, progress, TestContext.Current.CancellationToken);

    // The weights that the LoRAs of these tests change.
    private static List<Parameter> Touched(VideoPipeline pipeline) =>
        [.. pipeline.Models.Transformer.NamedParameters().Where(named => new LoraConfig().Targets.Any(target => named.Key.EndsWith($".{target}.weight", StringComparison.Ordinal))).Select(named => named.Parameter)];

    private static List<float[]> Weights(VideoPipeline pipeline) => Weights(pipeline.Models.Transformer);

    private static List<float[]> Weights(PyramidTransformer transformer) => [.. transformer.NamedParameters().Select(named => named.Parameter.Value.To(ElementType.Float32).ToArray<float>())];

    private Tensor Latents(IReadOnlyList<LoraUse> loras)
    {
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Loras = loras });
        return pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken);
    }
}
