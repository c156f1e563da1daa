using PyramidFlow.Testing;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

/// <summary>The released transformers at real size, declared from the configs of their folders without weights.</summary>
public sealed class ReleasedTransformerTests : IDisposable
{
    private const string Flux = """
        {"_class_name": "PyramidFluxTransformer", "_diffusers_version": "0.30.3", "attention_head_dim": 64, "axes_dims_rope": [16, 24, 24],
         "in_channels": 64, "interp_condition_pos": true, "joint_attention_dim": 4096, "num_attention_heads": 30, "num_layers": 8,
         "num_single_layers": 16, "patch_size": 1, "pooled_projection_dim": 768, "use_flash_attn": false, "use_temporal_causal": true}
        """;

    private const string Mmdit = """
        {"_class_name": "PyramidDiffusionMMDiT", "_diffusers_version": "0.30.3", "add_temp_pos_embed": true, "attention_head_dim": 64,
         "caption_projection_dim": 1536, "in_channels": 16, "interp_condition_pos": true, "joint_attention_dim": 4096, "max_num_frames": 200,
         "num_attention_heads": 24, "num_layers": 24, "patch_size": 2, "pooled_projection_dim": 2048, "pos_embed_max_size": 192,
         "pos_embed_type": "sincos", "qk_norm": "rms_norm", "sample_size": 128, "temp_pos_embed_type": "rope", "use_t5_mask": true,
         "use_temporal_causal": true}
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    // The variants of a family are trained at other sizes; their networks are the same.
    [Theory]
    [InlineData("pyramid_flux.txt", Flux, "384p")]
    [InlineData("pyramid_flux.txt", Flux, "768p")]
    [InlineData("pyramid_flux.txt", Flux, "image")]
    [InlineData("pyramid_mmdit.txt", Mmdit, "384p")]
    [InlineData("pyramid_mmdit.txt", Mmdit, "768p")]
    public void Each_variant_has_the_released_keys_and_shapes(string approved, string config, string variant)
    {
        folder.File($"diffusion_transformer_{variant}", "x");
        folder.Write($"diffusion_transformer_{variant}/config.json", config);
        var checkpoint = CheckpointFolder.Open(folder.Path);
        using var model = TransformerConfigs.Load(checkpoint.Transformer(variant).ConfigFile).Build();
        ApprovedKeys.AssertEqual(approved, model);
        Assert.Equal(16, model.Config.LatentChannels);
    }
}
