using System.Text.Json.Nodes;
using PyramidFlow.Torch;
using PyramidFlow.Models;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Models.Transformers;

public class PyramidFluxConfigTests
{
    private const string Released = """
        {"_class_name": "PyramidFluxTransformer", "patch_size": 1, "in_channels": 64, "num_layers": 8, "num_single_layers": 16,
         "attention_head_dim": 64, "num_attention_heads": 30, "joint_attention_dim": 4096, "pooled_projection_dim": 768,
         "use_flash_attn": false, "use_temporal_causal": true}
        """;

    [Fact]
    public void Reads_a_released_config()
    {
        var config = PyramidFluxConfig.Parse(Released, "config.json");
        Assert.Equal(1920, config.Dim);
        Assert.Equal(16, config.LatentChannels);
        Assert.Equal([16, 24, 24], config.AxesDimsRope);
        Assert.True(config.UseTemporalCausal);
        Assert.Contains("use_flash_attn", config.Others!.Keys);
    }

    [Fact]
    public void Writes_what_it_reads()
    {
        var config = PyramidFluxConfig.Parse(PyramidFluxConfig.Parse(Released, "config.json").ToJson(), "again");
        Assert.Equal(16, config.NumSingleLayers);
        Assert.Equal("PyramidFluxTransformer", config.Others!["_class_name"].GetString());
        // What is computed from the keys is not written: a run is known by this text.
        Assert.Equal(["_class_name", "use_flash_attn"], config.Others.Keys.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("in_channels")]
    [InlineData("num_layers")]
    [InlineData("num_single_layers")]
    [InlineData("attention_head_dim")]
    [InlineData("num_attention_heads")]
    [InlineData("joint_attention_dim")]
    [InlineData("pooled_projection_dim")]
    public void Names_a_missing_key(string key)
    {
        var json = JsonNode.Parse(Released)!.AsObject();
        json.Remove(key);
        var error = Assert.Throws<CheckpointException>(() => PyramidFluxConfig.Parse(json.ToJsonString(), "folder/config.json"));
        FaultAssert.Is(error, "config_lacks", ("file", "folder/config.json"), ("keys", key));
    }

    [Theory]
    [InlineData("in_channels", "6")]
    [InlineData("in_channels", "\"many\"", "config_malformed")]
    [InlineData("num_layers", "-1")]
    [InlineData("num_attention_heads", "0")]
    [InlineData("attention_head_dim", "7")]
    [InlineData("axes_dims_rope", "[16, 24]")]
    [InlineData("axes_dims_rope", "[16, 24, 26]")]
    [InlineData("axes_dims_rope", "[15, 25, 24]")]
    [InlineData("patch_size", "2")]
    [InlineData("pooled_projection_dim", "null", "config_malformed")]
    public void Names_an_impossible_value(string key, string value, string code = "config_value_invalid")
    {
        var json = JsonNode.Parse(Released)!.AsObject();
        json[key] = JsonNode.Parse(value);
        var error = Assert.Throws<CheckpointException>(() => PyramidFluxConfig.Parse(json.ToJsonString(), "folder/config.json"));
        FaultAssert.Is(error, code, ("file", "folder/config.json"), ("key", key));
    }

    [Fact]
    public void Names_a_file_that_is_not_there()
    {
        var error = Assert.Throws<CheckpointException>(() => PyramidFluxConfig.Load("nowhere/config.json"));
        FaultAssert.Is(error, "file_missing", ("file", "nowhere/config.json"));
    }

    [Fact]
    public void Refuses_text_that_is_no_json() =>
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => PyramidFluxConfig.Parse("{\"in_channels\": ", "config.json")), "config_malformed", ("file", "config.json"));
}
