using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Lora;

public sealed class LoraTests : IDisposable
{
    private static readonly LoraConfig Config = new() { Rank = 2, Alpha = 6, Targets = ["to_q", "to_out.0", "ff.net.2", "proj_out"] };

    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(6);
    private readonly TemporaryFolder folder = new();
    private readonly Tensor[] clips;
    private readonly TextCondition text;

    public LoraTests()
    {
        clips = Tiny.Clips(generator, unit: 1, stage: 1);
        text = Tiny.Text(generator, [9, 4]);
    }

    public void Dispose()
    {
        folder.Dispose();
        generator.Dispose();
        scope.Dispose();
    }

    [Theory]
    [InlineData("pyramid_flux")]
    [InlineData("pyramid_mmdit")]
    public void Additions_start_at_nothing_learn_alone_and_merge_to_the_same(string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var model = Tiny.Build(family, generator);
        var before = Weights(model);
        var start = Velocity(model);
        var layers = LoraAdapters.Attach(model, Config, generator);
        Assert.Equal(start.ToArray<float>(), Velocity(model).ToArray<float>());

        using var parameters = new FlatParameters(("", model));
        Assert.Equal(layers.SelectMany(layer => new[] { layer + ".lora_A.weight", layer + ".lora_B.weight" }).Order(), parameters.Layout().Select(p => p.Key).Order());
        Train(model, parameters);
        var learned = Velocity(model);
        Assert.True(Difference(start, learned) > 1e-2);
        Assert.All(model.NamedParameters().Where(p => before.ContainsKey(p.Key)), p => Assert.Equal(before[p.Key], p.Parameter.Value.ToArray<float>()));

        LoraFile.Write(folder.File("lora.safetensors"), parameters.Named(parameters.Values), Config);
        using var merged = Restored(family, before);
        LoraFile.Merge(merged, folder.File("lora.safetensors"));
        Assert.InRange(Difference(learned, Velocity(merged)), 0, 1e-5);
        LoraFile.Merge(merged, folder.File("lora.safetensors"), weight: -1);
        Assert.InRange(Difference(start, Velocity(merged)), 0, 1e-5);
    }

    [Fact]
    public void Files_use_the_keys_of_diffusers()
    {
        using var model = Tiny.Flux(generator);
        LoraAdapters.Attach(model, Config, generator);
        using var parameters = new FlatParameters(("", model));
        LoraFile.Write(folder.File("lora.safetensors"), parameters.Named(parameters.Values), Config);
        using var file = SafetensorsFile.Open(folder.File("lora.safetensors"));
        Assert.Equal([2, 32], file.Entries["transformer.transformer_blocks.0.attn.to_q.lora_A.weight"].Shape);
        Assert.Equal([32, 2], file.Entries["transformer.transformer_blocks.1.attn.to_out.0.lora_B.weight"].Shape);
        Assert.Equal([2, 160], file.Entries["transformer.single_transformer_blocks.0.proj_out.lora_A.weight"].Shape);
        Assert.All(file.Entries.Keys, key => Assert.StartsWith("transformer.", key, StringComparison.Ordinal));
        Assert.Contains("\"transformer.lora_alpha\":2,", file.Metadata["lora_adapter_metadata"], StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("transformer.", "lora_A", "lora_B")]
    [InlineData("base_model.model.", "lora_A", "lora_B")]
    [InlineData("", "lora.down", "lora.up")]
    [InlineData("", "lora_down", "lora_up")]
    public void Files_of_others_are_read_with_their_alpha(string prefix, string down, string up)
    {
        const string layer = "transformer_blocks.0.attn.to_k";
        using var model = Tiny.Flux(generator);
        var (a, b) = (Tensor.Randn([4, 32], generator), Tensor.Randn([32, 4], generator));
        var weight = model.NamedParameters().Single(p => p.Key == layer + ".weight").Parameter;
        var expected = weight.Value + (b.Matmul(a) * (0.5 * 8 / 4));
        SafetensorsWriter.Write(folder.File("other.safetensors"),
            [($"{prefix}{layer}.{down}.weight", a), ($"{prefix}{layer}.{up}.weight", b), ($"{prefix}{layer}.alpha", Tensor.Scalar(8))]);
        LoraFile.Merge(model, folder.File("other.safetensors"), weight: 0.5);
        Assert.InRange((weight.Value - expected).Abs().Max().Item(), 0, 1e-5);
    }

    [Theory]
    [InlineData("""{"transformer.r": 4, "transformer.lora_alpha": 8}""", 2)]
    [InlineData("""{"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.alpha_pattern": {"attn.to_k": 12}}""", 3)]
    [InlineData("""{"transformer.r": 4, "transformer.lora_alpha": 8, "transformer.use_rslora": true}""", 4)]
    [InlineData("""{"other.lora_alpha": 8}""", 1)]
    [InlineData("no json", 1)]
    public void The_alpha_that_diffusers_notes_in_a_file_counts(string metadata, double factor)
    {
        const string layer = "transformer_blocks.0.attn.to_k";
        using var model = Tiny.Flux(generator);
        var (a, b) = (Tensor.Randn([4, 32], generator), Tensor.Randn([32, 4], generator));
        var weight = model.NamedParameters().Single(p => p.Key == layer + ".weight").Parameter;
        var expected = weight.Value + (b.Matmul(a) * factor);
        SafetensorsWriter.Write(folder.File("other.safetensors"), [($"transformer.{layer}.lora_A.weight", a), ($"transformer.{layer}.lora_B.weight", b)],
            new Dictionary<string, string> { ["lora_adapter_metadata"] = metadata });
        LoraFile.Merge(model, folder.File("other.safetensors"));
        Assert.InRange((weight.Value - expected).Abs().Max().Item(), 0, 1e-5);
    }

    [Fact]
    public void Files_that_do_not_fit_and_impossible_configurations_are_refused()
    {
        using var model = Tiny.Flux(generator);
        FaultAssert.Is(Refused("missing.safetensors"), "file_missing", ("file", folder.File("missing.safetensors")));
        FaultAssert.Is(Written(("x.weight", [2, 2])), "no_lora", ("file", folder.File("wrong.safetensors")));
        FaultAssert.Is(Written(("elsewhere.lora_A.weight", [2, 32]), ("elsewhere.lora_B.weight", [32, 2])), "lora_of_other_model", ("layer", "elsewhere"), ("layers", 1));
        FaultAssert.Is(Written(("nowhere.lora_A.weight", [2, 32]), ("nowhere.lora_B.weight", [32, 2]), ("proj_out.lora_A.weight", [2, 32]), ("proj_out.lora_B.weight", [16, 2])),
            "lora_misfit", ("differences", CheckpointFault.NoLayer("nowhere")));
        FaultAssert.Is(Written(("proj_out.lora_A.weight", [2, 32])), "lora_misfit", ("differences", CheckpointFault.KeyMissing("proj_out.lora_B.weight")));
        FaultAssert.Is(Written(("proj_out.lora_A.weight", [2, 16]), ("proj_out.lora_B.weight", [32, 2])), "lora_misfit",
            ("differences", CheckpointFault.MatricesDiffer("proj_out", [32, 2], [2, 16], [16, 32])));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LoraAdapters.Layers(model, Config with { Alpha = 0 })), "lora_alpha_invalid", ("alpha", 0.0));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LoraAdapters.Layers(model, Config with { Targets = [] })), "no_lora_target");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LoraAdapters.Attach(model, Config with { Rank = 0 }, generator)), "lora_rank_invalid", ("rank", 0), ("least", 1));
        var error = Assert.Throws<CheckpointException>(() => LoraAdapters.Attach(model, Config with { Targets = ["to_w"] }, generator));
        FaultAssert.Is(error, "unknown_lora_target", ("target", "to_w"));
        Assert.Contains("attn.to_q, ", (string)error.Parameters["known"]!, StringComparison.Ordinal);

        CheckpointException Written(params (string Key, long[] Shape)[] tensors)
        {
            SafetensorsWriter.Write(folder.File("wrong.safetensors"), tensors.Select(t => (t.Key, Tensor.Ones(t.Shape))));
            return Refused("wrong.safetensors");
        }

        CheckpointException Refused(string name) => Assert.Throws<CheckpointException>(() => LoraFile.Merge(model, folder.File(name)));
    }

    private static Dictionary<string, float[]> Weights(Module model) =>
        model.NamedParameters().ToDictionary(p => p.Key, p => p.Parameter.Value.ToArray<float>());

    private static double Difference(Tensor a, Tensor b) => (a - b).Norm().Item() / a.Norm().Item();

    private PyramidTransformer Restored(ModelFamily family, Dictionary<string, float[]> weights)
    {
        var model = Tiny.Build(family, generator);
        foreach (var (key, parameter) in model.NamedParameters())
            parameter.Value = Tensor.From(weights[key], parameter.Shape);
        return model;
    }

    private Tensor Velocity(PyramidTransformer model)
    {
        using var noGrad = NoGrad.Begin();
        return model.Forward([clips], text, Tensor.Full([2], 500))[0];
    }

    private void Train(PyramidTransformer model, FlatParameters parameters)
    {
        using var optimizer = new AdamW(parameters);
        for (var step = 0; step < 3; step++)
        {
            using var inner = new TensorScope();
            var error = model.Forward([clips], text, Tensor.Full([2], 500))[0] - clips[^1];
            (error * error).Mean().Backward();
            optimizer.Step(0.02);
            parameters.ZeroGradients();
        }
    }
}
