using System.Text;
using System.Text.Json.Nodes;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models.Text;

public sealed class TextEncoderConfigTests
{
    private const string T5 = """{"vocab_size":60,"d_model":32,"d_kv":8,"d_ff":48,"num_layers":2,"num_heads":4,"feed_forward_proj":"gated-gelu"}""";
    private const string Clip = """{"vocab_size":64,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":4,"max_position_embeddings":20,"eos_token_id":2}""";

    [Theory]
    [InlineData("d_model", null, "te/config.json lacks d_model")]
    [InlineData("d_kv", "0", "te/config.json: d_kv is 0")]
    [InlineData("d_ff", "\"wide\"", "te/config.json: d_ff cannot be \"wide\": it is a whole number")]
    [InlineData("num_layers", "1.5", "te/config.json: num_layers cannot be 1.5: it is a whole number")]
    [InlineData("layer_norm_epsilon", "1e400", "te/config.json: layer_norm_epsilon has a number that is larger than any")]
    [InlineData("feed_forward_proj", "\"gated-swoosh\"", "te/config.json: feed_forward_proj is gated-swoosh")]
    [InlineData("dense_act_fn", "\"swoosh\"", "te/config.json: dense_act_fn is swoosh")]
    [InlineData("relative_attention_num_buckets", "31", "te/config.json: relative_attention_num_buckets is 31")]
    [InlineData("relative_attention_max_distance", "8", "te/config.json: relative_attention_max_distance is 8")]
    public void Faulty_t5_configs_name_file_and_key(string key, string? value, string message)
    {
        var error = Assert.Throws<CheckpointException>(() => T5EncoderConfig.Parse(With(T5, key, value), "te/config.json"));
        Assert.StartsWith(message, error.Message);
    }

    [Theory]
    [InlineData("hidden_size", null, "te/config.json lacks hidden_size")]
    [InlineData("num_attention_heads", "5", "te/config.json: num_attention_heads is 5; it must divide hidden_size 32")]
    [InlineData("hidden_act", "\"swoosh\"", "te/config.json: hidden_act is swoosh")]
    [InlineData("eos_token_id", "64", "te/config.json: eos_token_id is 64; ids go from 0 to 63")]
    [InlineData("projection_dim", "-1", "te/config.json: projection_dim is -1")]
    [InlineData("layer_norm_eps", "0", "te/config.json: layer_norm_eps is 0")]
    public void Faulty_clip_configs_name_file_and_key(string key, string? value, string message)
    {
        var error = Assert.Throws<CheckpointException>(() => ClipTextConfig.Parse(With(Clip, key, value), "te/config.json"));
        Assert.StartsWith(message, error.Message);
    }

    [Fact]
    public void A_config_cut_off_says_it_is_not_json()
    {
        var error = Assert.Throws<CheckpointException>(() => ClipTextConfig.Parse("{\"vocab_size\": 6"u8.ToArray(), "te/config.json"));
        Assert.StartsWith("te/config.json: this is not JSON", error.Message);
    }

    [Theory]
    [InlineData("gated-gelu", "gated-\\ud800", "te/config.json: feed_forward_proj: this holds half of a character")]
    [InlineData("num_heads", "num_\\udc00", "te/config.json: this holds half of a character")]
    [InlineData("gated-gelu", "gated\0gelu", "te/config.json: line 1: this holds a NUL character")]
    public void Text_that_is_none_names_the_file(string text, string faulty, string message)
    {
        var json = Encoding.UTF8.GetBytes(T5.Replace(text, faulty, StringComparison.Ordinal));
        Assert.StartsWith(message, Assert.Throws<CheckpointException>(() => T5EncoderConfig.Parse(json, "te/config.json")).Message);
    }

    [Fact]
    public void A_clip_with_projection_needs_its_width()
    {
        var config = ClipTextConfig.Parse(Encoding.UTF8.GetBytes(Clip), "te/config.json");
        Assert.Contains("projection_dim", Assert.Throws<ArgumentException>(() => new ClipTextModelWithProjection(config)).Message);
    }

    [Theory]
    [InlineData("\"feed_forward_proj\":\"gated-silu\"", true, "silu")]
    [InlineData("\"feed_forward_proj\":\"relu\"", false, "relu")]
    [InlineData("\"feed_forward_proj\":\"gated-gelu\"", true, "gelu_new")]
    [InlineData("\"dense_act_fn\":\"gelu_pytorch_tanh\",\"is_gated_act\":true", true, "gelu_pytorch_tanh")]
    [InlineData("\"dropout_rate\":0.1", false, "relu")]
    public void Feed_forward_form_is_read_from_either_spelling(string keys, bool gated, string activation)
    {
        var json = T5.Replace("\"feed_forward_proj\":\"gated-gelu\"", keys, StringComparison.Ordinal);
        var config = T5EncoderConfig.Parse(Encoding.UTF8.GetBytes(json), "te/config.json");
        Assert.Equal((gated, activation), (config.Gated, config.ActivationName));
    }

    private static byte[] With(string json, string key, string? value)
    {
        var node = JsonNode.Parse(json)!.AsObject();
        node.Remove(key);
        if (value is not null)
            node[key] = JsonNode.Parse(value);
        return Encoding.UTF8.GetBytes(node.ToJsonString());
    }
}
