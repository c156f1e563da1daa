using System.Runtime.CompilerServices;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Text;

public sealed class ReleasedTextEncoderTests
{
    [Theory]
    [InlineData("flux-text_encoder_2.json")]
    [InlineData("sd3-text_encoder_3.json")]
    public void T5_has_the_released_keys_and_shapes(string config)
    {
        using var model = new T5Encoder(T5EncoderConfig.Read(Config(config)));
        ApprovedKeys.AssertEqual("t5_xxl_encoder.txt", model, "encoder.embed_tokens.weight");
    }

    [Fact]
    public void Both_released_t5_configs_mean_the_gated_tanh_gelu()
    {
        Assert.All(["flux-text_encoder_2.json", "sd3-text_encoder_3.json"], name =>
        {
            var config = T5EncoderConfig.Read(Config(name));
            Assert.True(config.Gated);
            Assert.Contains(config.ActivationName, (string[])["gelu_new", "gelu_pytorch_tanh"]);
            Assert.Equal(128, config.RelativeAttentionMaxDistance);
        });
    }

    [Fact]
    public void Clip_has_the_released_keys_and_shapes()
    {
        using var model = new ClipTextModel(ClipTextConfig.Read(Config("flux-text_encoder.json")));
        ApprovedKeys.AssertEqual("clip_l_text_model.txt", model);
    }

    [Theory]
    [InlineData("sd3-text_encoder.json", "clip_l_with_projection.txt")]
    [InlineData("sd3-text_encoder_2.json", "clip_g_with_projection.txt")]
    public void Clip_with_projection_has_the_released_keys_and_shapes(string config, string approved)
    {
        using var model = new ClipTextModelWithProjection(ClipTextConfig.Read(Config(config)));
        ApprovedKeys.AssertEqual(approved, model);
    }

    [Fact]
    public void Unknown_config_keys_are_kept()
    {
        var config = ClipTextConfig.Read(Config("flux-text_encoder.json"));
        Assert.Equal("clip_text_model", config.Others!["model_type"].GetString());
    }

    private static string Config(string name, [CallerFilePath] string here = "") =>
        Path.Combine(Path.GetDirectoryName(here)!, "Configs", name);
}
