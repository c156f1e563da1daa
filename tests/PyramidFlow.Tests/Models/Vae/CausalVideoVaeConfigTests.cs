using System.Text;
using System.Text.Json.Nodes;
using PyramidFlow.Torch;
using PyramidFlow.Models;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Models.Vae;

public sealed class CausalVideoVaeConfigTests
{
    [Theory]
    [InlineData("encoder_out_channels", null, "config_lacks")]
    [InlineData("encoder_out_channels", "0", "config_value_invalid")]
    [InlineData("encoder_block_out_channels", "[]", "config_value_invalid")]
    [InlineData("encoder_block_out_channels", "[128,256,512,500]", "config_value_invalid")]
    [InlineData("encoder_block_out_channels", "\"wide\"", "config_malformed")]
    [InlineData("decoder_layers_per_block", "[3,3,3]", "config_value_invalid")]
    [InlineData("encoder_layers_per_block", "null", "config_malformed")]
    [InlineData("encoder_spatial_down_sample", "[true,true]", "config_value_invalid")]
    [InlineData("decoder_spatial_up_sample", "[true,true,false,false]", "config_value_invalid")]
    [InlineData("decoder_in_channels", "8", "config_value_invalid")]
    [InlineData("encoder_act_fn", "\"swoosh\"", "config_value_invalid")]
    [InlineData("interpolate", "true", "config_value_invalid")]
    [InlineData("encoder_down_block_types", "[\"DownEncoderBlock2D\"]", "config_value_invalid")]
    public void Faults_name_file_and_key(string key, string? value, string code)
    {
        var node = JsonNode.Parse(CausalVideoVaeConfig.Released.ToJson())!.AsObject();
        node.Remove(key);
        if (value is not null)
            node[key] = JsonNode.Parse(value);
        var error = Assert.Throws<CheckpointException>(() => CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(node.ToJsonString()), "vae/config.json"));
        FaultAssert.Is(error, code, ("file", "vae/config.json"), (code == "config_lacks" ? "keys" : "key", key));
    }

    [Fact]
    public void The_released_config_survives_writing_and_reading_with_its_unknown_keys()
    {
        var node = JsonNode.Parse(CausalVideoVaeConfig.Released.ToJson())!.AsObject();
        node["scaling_factor"] = 0.13025;
        var config = CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(node.ToJsonString()), "vae/config.json");
        Assert.Equal([128, 256, 512, 512], config.DecoderBlockOutChannels);
        Assert.Equal((8, 8), (config.SpatialScale, config.TemporalScale));
        Assert.Equal(0.13025, config.Others!["scaling_factor"].GetDouble());
    }
}
