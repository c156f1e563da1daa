using System.Text;
using System.Text.Json.Nodes;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Vae;

public sealed class CausalVideoVaeConfigTests
{
    [Theory]
    [InlineData("encoder_out_channels", null, "vae/config.json lacks encoder_out_channels")]
    [InlineData("encoder_out_channels", "0", "vae/config.json: encoder_out_channels is 0")]
    [InlineData("encoder_block_out_channels", "[]", "vae/config.json: encoder_block_out_channels is empty")]
    [InlineData("encoder_block_out_channels", "[128,256,512,500]", "vae/config.json: encoder_block_out_channels has 500; every width must be a positive multiple of encoder_norm_num_groups 32")]
    [InlineData("encoder_block_out_channels", "\"wide\"", "vae/config.json: encoder_block_out_channels cannot be \"wide\": it is a list")]
    [InlineData("decoder_layers_per_block", "[3,3,3]", "vae/config.json: decoder_layers_per_block must hold 4 positive numbers")]
    [InlineData("encoder_layers_per_block", "null", "vae/config.json: encoder_layers_per_block is null: it is a list")]
    [InlineData("encoder_spatial_down_sample", "[true,true]", "vae/config.json: encoder_spatial_down_sample must hold 4 values")]
    [InlineData("decoder_spatial_up_sample", "[true,true,false,false]", "vae/config.json: decoder_spatial_up_sample doubles 2 times where the encoder halves 3 times")]
    [InlineData("decoder_in_channels", "8", "vae/config.json: decoder_in_channels is 8; it must be encoder_out_channels 16")]
    [InlineData("encoder_act_fn", "\"swoosh\"", "vae/config.json: encoder_act_fn is swoosh")]
    [InlineData("interpolate", "true", "vae/config.json: interpolate is true")]
    [InlineData("encoder_down_block_types", "[\"DownEncoderBlock2D\"]", "vae/config.json: encoder_down_block_types is [\"DownEncoderBlock2D\"]")]
    public void Faults_name_file_and_key(string key, string? value, string message)
    {
        var node = JsonNode.Parse(CausalVideoVaeConfig.Released.ToJson())!.AsObject();
        node.Remove(key);
        if (value is not null)
            node[key] = JsonNode.Parse(value);
        var error = Assert.Throws<CheckpointException>(() => CausalVideoVaeConfig.Parse(Encoding.UTF8.GetBytes(node.ToJsonString()), "vae/config.json"));
        Assert.StartsWith(message, error.Message, StringComparison.Ordinal);
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
