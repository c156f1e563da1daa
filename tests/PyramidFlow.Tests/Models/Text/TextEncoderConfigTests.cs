using System.Text;
using System.Text.Json.Nodes;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Models.Text;

public sealed class TextEncoderConfigTests
{
    private const string T5 = """{"vocab_size":60,"d_model":32,"d_kv":8,"d_ff":48,"num_layers":2,"num_heads":4,"feed_forward_proj":"gated-gelu"}""";
    private const string Clip = """{"vocab_size":64,"hidden_size":32,"intermediate_size":64,"num_hidden_layers":1,"num_attention_heads":4,"max_position_embeddings":20,"eos_token_id":2}""";

    [Theory]
    [InlineData("d_model", null, "config_lacks")]
    [InlineData("d_kv", "0", "config_value_invalid")]
    [InlineData("d_ff", "\"wide\"", "config_malformed")]
    [InlineData("num_layers", "1.5", "config_malformed")]
    [InlineData("layer_norm_epsilon", "1e400", "config_value_invalid")]
    [InlineData("feed_forward_proj", "\"gated-swoosh\"", "config_value_invalid")]
    [InlineData("dense_act_fn", "\"swoosh\"", "config_value_invalid")]
    [InlineData("relative_attention_num_buckets", "31", "config_value_invalid")]
    [InlineData("relative_attention_max_distance", "8", "config_value_invalid")]
    public void Faulty_t5_configs_name_file_and_key(string key, string? value, string code)
    {
        var error = Assert.Throws<CheckpointException>(() => T5EncoderConfig.Parse(With(T5, key, value), "te/config.json"));
        FaultAssert.Is(error, code, ("file", "te/config.json"), (code == "config_lacks" ? "keys" : "key", key));
    }

    [Theory]
    [InlineData("hidden_size", null, "config_lacks")]
    [InlineData("num_attention_heads", "5", "config_value_invalid")]
    [InlineData("hidden_act", "\"swoosh\"", "config_value_invalid")]
    [InlineData("eos_token_id", "64", "config_value_invalid")]
    [InlineData("projection_dim", "-1", "config_value_invalid")]
    [InlineData("layer_norm_eps", "0", "config_value_invalid")]
    public void Faulty_clip_configs_name_file_and_key(string key, string? value, string code)
    {
        var error = Assert.Throws<CheckpointException>(() => ClipTextConfig.Parse(With(Clip, key, value), "te/config.json"));
        FaultAssert.Is(error, code, ("file", "te/config.json"), (code == "config_lacks" ? "keys" : "key", key));
    }

    [Fact]
    public void A_config_cut_off_says_it_is_not_json()
    {
        var error = Assert.Throws<CheckpointException>(() => ClipTextConfig.Parse("{\"vocab_size\": 6"u8.ToArray(), "te/config.json"));
        FaultAssert.Is(error, "config_malformed", ("file", "te/config.json"), ("key", null));
    }

    [Theory]
    [InlineData("gated-gelu", "gated-\\ud800", "feed_forward_proj")]
    [InlineData("num_heads", "num_\\udc00", null)]
    [InlineData("gated-gelu", "gated\0gelu", null)]
    public void Text_that_is_none_names_the_file(string text, string faulty, string? key)
    {
        var json = Encoding.UTF8.GetBytes(T5.Replace(text, faulty, StringComparison.Ordinal));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => T5EncoderConfig.Parse(json, "te/config.json")), "config_malformed", ("file", "te/config.json"), ("key", key));
    }

    [Fact]
    public void A_clip_with_projection_needs_its_width()
    {
        var config = ClipTextConfig.Parse(Encoding.UTF8.GetBytes(Clip), "te/config.json");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => new ClipTextModelWithProjection(config)), "config_lacks", ("keys", "projection_dim"));
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
