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
        Assert.Equal(expected, Of(pipeline, [new(lora)]).ToArray<float>());
        Assert.Equal(expected, Of(pipeline, [new(lora)]).ToArray<float>());
        Assert.Equal(plain, Of(pipeline, []).ToArray<float>());
        Assert.Equal(0, pipeline.Models.Loras.Count);
    }

    private static Tensor Of(VideoPipeline pipeline, IReadOnlyList<LoraUse> loras) =>
        pipeline.GenerateLatents(Request with { Loras = loras }, cancellationToken: TestContext.Current.CancellationToken);

    private static List<float[]> Weights(VideoPipeline pipeline) => [.. pipeline.Models.Transformer.NamedParameters().Select(named => named.Parameter.Value.To(ElementType.Float32).ToArray<float>())];

    private Tensor Latents(IReadOnlyList<LoraUse> loras)
    {
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Loras = loras });
        return pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken);
    }
}
