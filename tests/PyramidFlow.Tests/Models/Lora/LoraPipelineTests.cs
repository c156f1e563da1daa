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
        lora = folder.File("lora.safetensors");
        using var generator = new RandomGenerator(9);
        var config = new LoraConfig { Rank = 2 };
        using var model = TransformerConfigs.Load(folder.File("diffusion_transformer_384p", "config.json")).Build();
        model.Initialize(generator);
        LoraAdapters.Attach(model, config, generator);
        using var parameters = new FlatParameters(("", model));
        parameters.Values.NormalInPlace(0, 0.5, generator);
        LoraFile.Write(lora, parameters.Named(parameters.Values), config);
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

    private Tensor Latents(IReadOnlyList<LoraUse> loras)
    {
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Loras = loras });
        return pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken);
    }
}
