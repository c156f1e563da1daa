using System.Text.Json.Nodes;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

public sealed class PyramidMmditConfigTests : IDisposable
{
    private const string Released = """
        {"_class_name": "PyramidDiffusionMMDiT", "sample_size": 128, "patch_size": 2, "in_channels": 16, "num_layers": 24, "attention_head_dim": 64,
         "num_attention_heads": 24, "caption_projection_dim": 1536, "pooled_projection_dim": 2048, "pos_embed_max_size": 192, "max_num_frames": 200,
         "qk_norm": "rms_norm", "pos_embed_type": "sincos", "temp_pos_embed_type": "sincos", "joint_attention_dim": 4096, "use_t5_mask": false,
         "add_temp_pos_embed": false, "interp_condition_pos": false, "use_temporal_causal": true}
        """;

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Reads_every_value_as_it_stands()
    {
        var config = PyramidMmditConfig.Parse(Released, "config.json");
        Assert.Equal(1536, config.Dim);
        Assert.Equal(16, config.LatentChannels);
        Assert.Equal(192, config.MaxPatches);
        Assert.Equal(TimePositions.None, config.Time);
        Assert.False(config.InterpConditionPos);
        Assert.True(config.UseTemporalCausal);
        Assert.Contains("use_t5_mask", config.Others!.Keys);
    }

    [Fact]
    public void Positions_of_a_checkpoint_are_those_its_weights_were_trained_with()
    {
        folder.Write("config.json", Released);
        var config = Assert.IsType<PyramidMmditConfig>(TransformerConfigs.Load(folder.File("config.json")));
        Assert.Equal(TimePositions.Rotary, config.Time);
        Assert.False(config.InterpConditionPos);
    }

    [Fact]
    public void Writes_the_keys_it_reads_and_no_others()
    {
        var config = PyramidMmditConfig.Parse(PyramidMmditConfig.Parse(Released, "config.json").ToJson(), "again");
        Assert.Equal(24, config.NumLayers);
        Assert.Equal(["_class_name", "use_t5_mask"], config.Others!.Keys.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("in_channels")]
    [InlineData("num_layers")]
    [InlineData("attention_head_dim")]
    [InlineData("num_attention_heads")]
    [InlineData("caption_projection_dim")]
    [InlineData("joint_attention_dim")]
    [InlineData("pooled_projection_dim")]
    public void Names_a_missing_key(string key)
    {
        var json = JsonNode.Parse(Released)!.AsObject();
        json.Remove(key);
        AssertFault(json, "config_lacks", "keys", key);
    }

    [Theory]
    [InlineData("in_channels", "0")]
    [InlineData("in_channels", "\"many\"", "config_malformed")]
    [InlineData("num_layers", "0")]
    [InlineData("attention_head_dim", "7")]
    [InlineData("num_attention_heads", "-24")]
    [InlineData("caption_projection_dim", "1152")]
    [InlineData("sample_size", "1")]
    [InlineData("pos_embed_max_size", "0")]
    [InlineData("patch_size", "1")]
    [InlineData("qk_norm", "\"layer_norm\"")]
    [InlineData("qk_norm", "null", "config_malformed")]
    [InlineData("pos_embed_type", "\"rope\"")]
    [InlineData("temp_pos_embed_type", "\"learned\"")]
    public void Names_an_impossible_value(string key, string value, string code = "config_value_invalid")
    {
        var json = JsonNode.Parse(Released)!.AsObject();
        json[key] = JsonNode.Parse(value);
        AssertFault(json, code, "key", key);
    }

    private static void AssertFault(JsonObject json, string code, string parameter, string key)
    {
        var error = Assert.Throws<CheckpointException>(() => PyramidMmditConfig.Parse(json.ToJsonString(), "folder/config.json"));
        FaultAssert.Is(error, code, ("file", "folder/config.json"), (parameter, key));
    }
}
