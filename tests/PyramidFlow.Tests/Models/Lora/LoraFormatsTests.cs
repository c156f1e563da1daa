using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Transformers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Lora;

/// <summary>LoRAs as other trainers write them: their keys, the settings beside them, and numbers that are none.</summary>
public sealed class LoraFormatsTests : IDisposable
{
    private const string Layer = "single_transformer_blocks.0.attn.to_q", Kohya = "single_transformer_blocks_0_attn_to_q";
    private const string Config = "adapter_config.json", Model = "adapter_model.safetensors";

    private readonly TensorScope scope = new();
    private readonly RandomGenerator generator = new(6);
    private readonly TemporaryFolder folder = new();
    private readonly PyramidTransformer model;
    private readonly Parameter weight;
    private readonly Tensor a, b;

    public LoraFormatsTests()
    {
        model = Tiny.Flux(generator);
        weight = model.NamedParameters().Single(p => p.Key == Layer + ".weight").Parameter;
        (a, b) = (Tensor.Randn([4, 32], generator), Tensor.Randn([32, 4], generator));
    }

    public void Dispose()
    {
        model.Dispose();
        folder.Dispose();
        generator.Dispose();
        scope.Dispose();
    }

    [Theory]
    [InlineData($"transformer.{Layer}.lora_A.weight", $"transformer.{Layer}.lora_B.weight", $"transformer.{Layer}.alpha")]
    [InlineData($"diffusion_model.{Layer}.lora_A.weight", $"diffusion_model.{Layer}.lora_B.weight", $"diffusion_model.{Layer}.alpha")]
    [InlineData($"diffusion_model.{Layer}.lora_down.weight", $"diffusion_model.{Layer}.lora_up.weight", $"diffusion_model.{Layer}.alpha")]
    [InlineData($"model.diffusion_model.{Layer}.lora_A.weight", $"model.diffusion_model.{Layer}.lora_B.weight", $"model.diffusion_model.{Layer}.alpha")]
    [InlineData($"lora_unet_{Kohya}.lora_down.weight", $"lora_unet_{Kohya}.lora_up.weight", $"lora_unet_{Kohya}.alpha")]
    [InlineData($"lora_transformer_{Kohya}.lora_down.weight", $"lora_transformer_{Kohya}.lora_up.weight", $"lora_transformer_{Kohya}.alpha")]
    [InlineData($"base_model.model.{Layer}.lora_A.weight", $"base_model.model.{Layer}.lora_B.weight", $"base_model.model.{Layer}.alpha")]
    [InlineData($"base_model.model.{Layer}.lora_A.default.weight", $"base_model.model.{Layer}.lora_B.default.weight", $"{Layer}.alpha")]
    [InlineData($"base_model.model.transformer.{Layer}.lora_A.style.weight", $"base_model.model.transformer.{Layer}.lora_B.style.weight", $"{Layer}.alpha")]
    [InlineData($"module.{Layer}.lora_A.weight", $"module.{Layer}.lora_B.weight", $"module.{Layer}.alpha")]
    [InlineData($"module.base_model.model.dit.{Layer}.lora.down.weight", $"module.base_model.model.dit.{Layer}.lora.up.weight", $"module.{Layer}.alpha")]
    public void Keys_of_common_trainers_name_layers_of_this_model(string down, string up, string alpha)
    {
        SafetensorsWriter.Write(folder.File("lora.safetensors"), [(down, a), (up, b), (alpha, Tensor.Scalar(8))]);
        AssertAdds(2, folder.File("lora.safetensors"));
    }

    [Theory]
    [InlineData("""{"peft_type":"LORA","r":4,"lora_alpha":16,"use_rslora":false,"bias":"none","target_modules":["to_q"]}""", 4)]
    [InlineData("""{"r":4,"lora_alpha":16,"use_rslora":true}""", 8)]
    [InlineData("""{"r":4,"lora_alpha":16,"alpha_pattern":{"to_k":1,"attn.to_q":2}}""", 0.5)]
    [InlineData("""{"r":4,"lora_alpha":16,"alpha_pattern":{"to_.*":12,"to_q":2}}""", 3)]
    [InlineData("""{"r":4,"lora_alpha":16,"alpha_pattern":{"^single_transformer_blocks\\.[0-9]+":8}}""", 4)]
    [InlineData("""{"r":4,"lora_alpha":16,"alpha_pattern":{"^single_transformer_blocks\\.[0-9]+\\.attn\\.to_q":8}}""", 2)]
    [InlineData("""{"r":4,"lora_alpha":16,"alpha_pattern":{"^attn\\.to_q":8,"to":1,"_q":1}}""", 4)]
    [InlineData("""{"r":64,"lora_alpha":16,"rank_pattern":{"to_q":4}}""", 4)]
    [InlineData("""{"r":4,"lora_alpha":16.0,"alpha_pattern":null,"unused":NaN}""", 4)]
    [InlineData("""{"r":4}""", 2)]
    public void The_settings_that_peft_writes_beside_its_file_count(string settings, double factor)
    {
        Peft(settings);
        AssertAdds(factor, folder.File(Model));
        LoraFile.Merge(model, folder.Path, -1);
        AssertAdds(factor, folder.Path);
    }

    [Fact]
    public void A_strength_in_the_file_counts_before_the_settings_beside_it()
    {
        folder.Write(Config, """{"r":4,"lora_alpha":16}""");
        SafetensorsWriter.Write(folder.File(Model), [($"{Layer}.lora_A.weight", a), ($"{Layer}.lora_B.weight", b), ($"{Layer}.alpha", Tensor.Scalar(2))]);
        AssertAdds(0.5, folder.Path);
    }

    [Theory]
    [InlineData("""{"r":4,"lora_alpha":NaN}""", "lora_alpha")]
    [InlineData("""{"r":4,"lora_alpha":-Infinity}""", "lora_alpha")]
    [InlineData("""{"r":4,"lora_alpha":1e400}""", "lora_alpha")]
    [InlineData("""{"r":4,"lora_alpha":"much"}""", "lora_alpha")]
    [InlineData("""{"r":4,"lora_alpha":[16]}""", "lora_alpha")]
    [InlineData("""{"r":4,"alpha_pattern":{"to_q":NaN}}""", "alpha_pattern.to_q")]
    [InlineData("""{"r":4,"alpha_pattern":["to_q"]}""", "alpha_pattern")]
    [InlineData("""{"r":4,"alpha_pattern":{"to_(q":1}}""", "alpha_pattern")]
    [InlineData("""{"r":4,"alpha_pattern":{"\ud800":1}}""", null)]
    [InlineData("""{"r":4,"use_rslora":"yes"}""", "use_rslora")]
    [InlineData("""{"peft_type":"LOHA"}""", "peft_type")]
    [InlineData("""{"use_dora":true}""", "use_dora")]
    [InlineData("""{"init_lora_weights":"pissa_niter_4"}""", "init_lora_weights")]
    [InlineData("""["r"]""", null)]
    [InlineData("""{"r":4""", null)]
    public void Settings_that_are_wrong_name_their_file_and_key(string settings, string? key)
    {
        Peft(settings);
        FaultAssert.Is(Refused(folder.Path), "lora_settings_invalid", ("file", folder.File(Config)), ("key", key));
    }

    [Fact]
    public void Settings_of_another_LoRA_are_told_by_the_rank()
    {
        Peft("""{"r":8,"lora_alpha":16}""");
        FaultAssert.Is(Refused(folder.Path), "lora_rank_differs", ("file", folder.File(Config)), ("rank", 8.0), ("layer", Layer), ("rows", 4L));
    }

    [Theory]
    [InlineData("""{"transformer.lora_alpha": NaN}""", "transformer.lora_alpha")]
    [InlineData("""{"transformer.lora_alpha": 1e400}""", "transformer.lora_alpha")]
    [InlineData("""{"\ud800": 7, "to_k": "3"}""", null)]
    [InlineData("""{"transformer.alpha_pattern": {"to_q": "Infinity"}}""", "transformer.alpha_pattern.to_q")]
    public void Metadata_that_is_wrong_names_the_file_and_the_key(string metadata, string? key)
    {
        SafetensorsWriter.Write(folder.File("x.safetensors"), Pair(a, b), new Dictionary<string, string> { ["lora_adapter_metadata"] = metadata });
        FaultAssert.Is(Refused(folder.File("x.safetensors")), "lora_settings_invalid", ("file", folder.File("x.safetensors") + ": lora_adapter_metadata"), ("key", key));
    }

    [Theory]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void A_number_that_is_none_is_refused_with_its_key_before_weights_are_read(float number)
    {
        var bad = a.Clone();
        bad.Select(0, 2).Select(0, 5).Fill(number);
        const string alpha = $"transformer.{Layer}.alpha";
        FaultAssert.Is(RefusedAs(Pair(bad, b)), "lora_not_finite", ("file", folder.File("x.safetensors")), ("key", $"transformer.{Layer}.lora_A.weight"));
        FaultAssert.Is(RefusedAs([.. Pair(a, b), (alpha, Tensor.Scalar(number))]), "lora_not_finite", ("file", folder.File("x.safetensors")), ("key", alpha));
        FaultAssert.Is(RefusedAs([.. Pair(a, b), (alpha, Tensor.Empty([0]))]), "lora_misfit", ("differences", CheckpointFault.NotOneNumber(alpha, [0])));
        FaultAssert.Is(RefusedAs([.. Pair(a, b), (alpha, Tensor.Ones([2]))]), "lora_misfit", ("differences", CheckpointFault.NotOneNumber(alpha, [2])));
        var before = weight.Value.ToArray<float>();
        SafetensorsWriter.Write(folder.File("x.safetensors"), Pair(a * 1e20, b * 1e20));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LoraFile.Merge(model, folder.File("x.safetensors"))), "lora_too_large", ("layer", Layer), ("factor", 1.0));
        Assert.Equal(before, weight.Value.ToArray<float>());
        Assert.Throws<ArgumentException>(() => LoraFile.Merge(model, folder.File("x.safetensors"), number));
    }

    [Fact]
    public void A_scale_beyond_float32_is_refused_even_where_the_matrices_are_zero()
    {
        var before = weight.Value.ToArray<float>();
        SafetensorsWriter.Write(folder.File("x.safetensors"), Pair(a * 0, b));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => LoraFile.Merge(model, folder.File("x.safetensors"), 1e300)), "lora_too_large");
        Assert.Equal(before, weight.Value.ToArray<float>());
    }

    [Fact]
    public void Of_another_model_is_said_only_of_files_without_a_layer_of_this_one()
    {
        const string other = "double_blocks_0_img_attn_qkv", text = "lora_te1_text_model_layers_0_fc1", seventh = "blocks.7.attn.to_q";
        var error = RefusedAs([($"lora_unet_{other}.lora_down.weight", a), ($"lora_unet_{other}.lora_up.weight", b)]);
        FaultAssert.Is(error, "lora_of_other_model", ("file", folder.File("x.safetensors")), ("layers", 1));
        Assert.EndsWith(other, (string)error.Parameters["layer"]!, StringComparison.Ordinal);
        FaultAssert.Is(RefusedAs([.. Pair(a, b), ($"transformer.{seventh}.lora_A.weight", a), ($"transformer.{seventh}.lora_B.weight", b)]),
            "lora_misfit", ("differences", CheckpointFault.NoLayer(seventh)));
        FaultAssert.Is(RefusedAs([.. Pair(a, b), ($"{text}.lora_down.weight", a), ($"{text}.lora_up.weight", b)]), "lora_of_text_encoder", ("layer", text), ("others", 0));
        FaultAssert.Is(RefusedAs([.. Pair(a, b), ($"transformer.{Layer}.lora_magnitude_vector", a)]), "other_adapter", ("kind", "a DoRA"));
        FaultAssert.Is(RefusedAs([.. Pair(a, b), ($"{Layer}.lora_A.other.weight", a)]), "lora_misfit",
            ("differences", CheckpointFault.SameLayer($"transformer.{Layer}.lora_A.weight", $"{Layer}.lora_A.other.weight")));
    }

    [Fact]
    public void A_folder_without_a_LoRA_or_with_several_is_named()
    {
        FaultAssert.Is(Refused(folder.Path), "no_lora_file", ("folder", folder.Path), ("known", "adapter_model.safetensors, pytorch_lora_weights.safetensors, lora.safetensors, adapter_model.bin"));
        SafetensorsWriter.Write(folder.File("one.safetensors"), Pair(a, b));
        AssertAdds(1, folder.Path);
        SafetensorsWriter.Write(folder.File("two.safetensors"), Pair(a, b));
        FaultAssert.Is(Refused(folder.Path), "several_lora_files", ("folder", folder.Path), ("files", "one.safetensors, two.safetensors"));
    }

    [Fact]
    public void The_hash_of_a_LoRA_changes_with_its_matrices_and_with_its_settings_and_is_the_same_for_file_and_folder()
    {
        Peft("""{"r":4}""");
        var first = LoraPlace.Find(folder.Path).Sha256();
        Assert.Equal(first, LoraPlace.Find(folder.File(Model)).Sha256());
        folder.Write(Config, """{"r":4,"lora_alpha":2}""");
        var other = LoraPlace.Find(folder.Path).Sha256();
        File.Delete(folder.File(Config));
        var alone = LoraPlace.Find(folder.Path).Sha256();
        Assert.Equal(3, new[] { first, other, alone }.Distinct().Count());
        Assert.Equal(PyramidFlow.Generation.GenerationNotes.Sha256(folder.File(Model)), alone);
        SafetensorsWriter.Write(folder.File(Model), Pair(a, b * 2));
        Assert.NotEqual(alone, LoraPlace.Find(folder.Path).Sha256());
    }

    private static (string, Tensor)[] Pair(Tensor down, Tensor up) => [($"transformer.{Layer}.lora_A.weight", down), ($"transformer.{Layer}.lora_B.weight", up)];

    private void Peft(string settings)
    {
        folder.Write(Config, settings);
        SafetensorsWriter.Write(folder.File(Model), [($"base_model.model.{Layer}.lora_A.weight", a), ($"base_model.model.{Layer}.lora_B.weight", b)]);
    }

    private void AssertAdds(double factor, string path)
    {
        using var noGrad = NoGrad.Begin();
        var before = weight.Value.Clone();
        LoraFile.Check(model, path);
        LoraFile.Merge(model, path);
        Assert.InRange((weight.Value - before - (b.Matmul(a) * factor)).Abs().Max().Item(), 0, 1e-4);
    }

    private CheckpointException RefusedAs((string, Tensor)[] tensors)
    {
        SafetensorsWriter.Write(folder.File("x.safetensors"), tensors);
        return Refused(folder.File("x.safetensors"));
    }

    private CheckpointException Refused(string path) => Assert.Throws<CheckpointException>(() => LoraFile.Check(model, path));
}
