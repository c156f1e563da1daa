using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Hub;

public sealed class CheckpointFolderTests
{
    [Theory]
    [InlineData("pyramid_flux", 16)]
    [InlineData("pyramid_mmdit", 24)]
    public void A_whole_checkpoint_has_no_problems_and_its_prompt_encoder_loads(string familyName, long pooled)
    {
        var family = ModelFamilies.Get(familyName);
        using var folder = new TemporaryFolder();
        ReleasedLayout.Write(folder, family, "diffusion_transformer_768p", "diffusion_transformer_384p");
        var checkpoint = CheckpointFolder.Open(folder.Path);
        Assert.Equal(family, checkpoint.Family);
        Assert.Equal(["384p", "768p"], checkpoint.Variants);
        Assert.All(CheckpointReport.Create(checkpoint, cancellationToken: TestContext.Current.CancellationToken).Variants, variant => Assert.Empty(variant.Faults));
        using var scope = new TensorScope();
        using var encoder = PromptEncoder.Load(checkpoint);
        var features = encoder.Encode(["a cat", "a cat on a table"]);
        Assert.Equal([2, features.Lengths.Max(), 16], features.Tokens.Shape);
        Assert.Equal([2, pooled], features.Pooled.Shape);
    }

    [Fact]
    public void A_plain_transformer_folder_is_the_first_variant()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Write(folder, ModelFamilies.Flux, "diffusion_transformer_mine", "diffusion_transformer_image", "diffusion_transformer");
        var checkpoint = CheckpointFolder.Open(folder.Path + Path.DirectorySeparatorChar);
        Assert.Equal(["", "image", "mine"], checkpoint.Variants);
        Assert.Equal("diffusion_transformer", checkpoint.Transformer().Name);
        Assert.Equal("diffusion_transformer_mine", checkpoint.Transformer("mine").Name);
    }

    [Fact]
    public void A_variant_may_have_settings_of_its_own_and_keeps_them_when_the_checkpoint_is_converted()
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Write(folder, ModelFamilies.Flux, "diffusion_transformer", "diffusion_transformer_fast");
        folder.Write("pipeline.json", """{ "frames": 49, "steps": [10, 10, 10], "guidance": 3 }""");
        folder.Write("diffusion_transformer_fast/pipeline.json", """{ "steps": [2, 2, 2], "guidance": 0, "video_guidance": 0, "distilled": { "guidance": 3, "steps": 2 } }""");
        CheckpointConversion.Convert(folder.Path, folder.File("converted"), cancellationToken: TestContext.Current.CancellationToken);
        foreach (var root in (string[])[folder.Path, folder.File("converted")])
        {
            var checkpoint = CheckpointFolder.Open(root);
            Assert.Equal([2, 2, 2], checkpoint.Settings("fast").Steps);
            Assert.Equal(new DistilledSettings(3, null, 2), checkpoint.Settings("fast").Distilled);
            Assert.Equal(49, checkpoint.Settings("fast").Frames);
            Assert.Equal([10, 10, 10], checkpoint.Settings().Steps);
            Assert.Null(checkpoint.Settings("").Distilled);
        }
    }

    [Theory]
    [InlineData("768p")]
    [InlineData("x/../../causal_video_vae")]
    public void A_variant_that_is_not_there_is_refused_with_those_that_are(string variant)
    {
        using var folder = new TemporaryFolder();
        ReleasedLayout.Write(folder, ModelFamilies.Flux, "diffusion_transformer_384p");
        var error = Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(folder.Path).Transformer(variant));
        FaultAssert.Is(error, "no_such_variant", ("folder", folder.Path), ("variant", variant), ("known", "diffusion_transformer_384p"));
    }

    [Fact]
    public void A_folder_that_is_no_checkpoint_says_what_it_needs()
    {
        using var folder = new TemporaryFolder();
        FaultAssert.Is(Fault(folder.Path), "not_a_checkpoint", ("folder", folder.Path),
            ("needed", "diffusion_transformer_384p, diffusion_transformer_768p, diffusion_transformer_image or diffusion_transformer"));
        FaultAssert.Is(Fault(Path.Combine(folder.Path, "nowhere")), "folder_missing", ("folder", Path.Combine(folder.Path, "nowhere")));
        folder.File("diffusion_transformer_384p", "x");
        FaultAssert.Is(Fault(folder.Path), "file_missing", ("file", folder.File("diffusion_transformer_384p", "config.json")));
        FaultAssert.Is(Fault(Path.Combine(folder.Path, "diffusion_transformer_384p")), "folder_of_one_model", ("around", folder.Path));
    }

    [Theory]
    [InlineData("""{"axes_dims_rope":[16,24,24]}""", "pyramid_flux")]
    [InlineData("""{"caption_projection_dim":1536}""", "pyramid_mmdit")]
    [InlineData("""{"_class_name":"PyramidDiffusionMMDiT","axes_dims_rope":[1]}""", "pyramid_mmdit")]
    public void The_family_is_told_from_the_config(string json, string familyName)
    {
        var family = ModelFamilies.Get(familyName);
        using var folder = new TemporaryFolder();
        folder.Write("config.json", json);
        Assert.Equal(family, ModelFamilies.Read(folder.File("config.json")));
    }

    [Theory]
    [InlineData("""{"_class_name":"FluxTransformer2DModel"}""", "unknown_family", "FluxTransformer2DModel")]
    [InlineData("""{"num_layers":2}""", "unknown_family")]
    [InlineData("[]", "config_no_object")]
    public void A_config_of_another_model_is_refused(string json, string code, string? name = null)
    {
        using var folder = new TemporaryFolder();
        folder.Write("config.json", json);
        var error = Assert.Throws<CheckpointException>(() => ModelFamilies.Read(folder.File("config.json")));
        FaultAssert.Is(error, code, ("file", folder.File("config.json")));
        if (code == "unknown_family")
            FaultAssert.Is(error, code, ("class", name));
    }

    private static CheckpointException Fault(string path) => Assert.Throws<CheckpointException>(() => CheckpointFolder.Open(path));
}
