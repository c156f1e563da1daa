using System.Globalization;
using System.Text;
using System.Text.Json;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models.Text;

[Trait("golden", "text")]
public sealed class TextGoldenTests
{
    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Goldens.Names), "t5_encoder", MemberType = typeof(Goldens))]
    public void T5_encoder_matches(string name)
    {
        using var golden = Goldens.Open("t5_encoder", name);
        using var scope = new TensorScope();
        using var model = new T5Encoder(golden.Config.AsT5());
        model.Load(golden.State(), device: TestDevice.Current);
        var ids = golden.Tensor("in/input_ids");
        var mask = golden.Has("in/attention_mask") ? golden.Tensor("in/attention_mask") : null;
        golden.AssertClose("out/last_hidden_state", model.Forward(ids, mask));
        if (golden.Has("out/last_hidden_state_no_mask"))
            golden.AssertClose("out/last_hidden_state_no_mask", model.Forward(ids));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Goldens.Names), "t5_buckets", MemberType = typeof(Goldens))]
    public void T5_buckets_match(string name)
    {
        using var golden = Goldens.Open("t5_buckets", name);
        using var scope = new TensorScope();
        var outputs = golden.File.Entries.Keys.Where(key => key.StartsWith("out/bucket_", StringComparison.Ordinal)).ToList();
        Assert.NotEmpty(outputs);
        foreach (var output in outputs)
        {
            var sizes = output.Split('_')[^2..].Select(s => long.Parse(s, CultureInfo.InvariantCulture)).ToArray();
            golden.AssertClose(output, RelativePositions.Bucket(golden.Tensor("in/relative_position"), sizes[0], sizes[1]));
        }
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Goldens.Names), "clip_text", MemberType = typeof(Goldens))]
    public void Clip_text_matches(string name)
    {
        using var golden = Goldens.Open("clip_text", name);
        using var scope = new TensorScope();
        using var model = new ClipTextModel(golden.Config.AsClip());
        model.Load(golden.State(), device: TestDevice.Current);
        var (hidden, pooled) = model.Forward(golden.Tensor("in/input_ids"));
        golden.AssertClose("out/last_hidden_state", hidden);
        golden.AssertClose("out/pooler_output", pooled);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Goldens.Names), "clip_text_projection", MemberType = typeof(Goldens))]
    public void Clip_text_with_projection_matches(string name)
    {
        using var golden = Goldens.Open("clip_text_projection", name);
        using var scope = new TensorScope();
        using var model = new ClipTextModelWithProjection(golden.Config.AsClip());
        model.Load(golden.State(), device: TestDevice.Current);
        var (hidden, pooled) = model.Forward(golden.Tensor("in/input_ids"));
        golden.AssertClose("out/last_hidden_state", hidden);
        golden.AssertClose("out/text_embeds", pooled);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Goldens.Names), "flux_text_encoder", MemberType = typeof(Goldens))]
    public void Flux_text_encoder_matches(string name)
    {
        using var golden = Goldens.Open("flux_text_encoder", name);
        using var scope = new TensorScope();
        using var clip = new ClipTextModel(golden.Config.GetProperty("clip").AsClip());
        using var t5 = new T5Encoder(golden.Config.GetProperty("t5").AsT5());
        clip.Load(golden.State("clip_weights_file"), device: TestDevice.Current);
        t5.Load(golden.State("t5_weights_file"), device: TestDevice.Current);
        var features = FluxPromptEncoder.EncodeIds(
            clip, golden.Tensor("in/clip_input_ids"), t5, golden.Tensor("in/t5_input_ids"), Lengths(golden));
        golden.AssertClose("out/pooled_prompt_embeds", features.Pooled);
        AssertTokens(golden, features, t5);
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(Goldens.Names), "sd3_text_encoder", MemberType = typeof(Goldens))]
    public void Sd3_text_encoder_matches(string name)
    {
        using var golden = Goldens.Open("sd3_text_encoder", name);
        using var scope = new TensorScope();
        using var clip = new ClipTextModelWithProjection(golden.Config.GetProperty("clip").AsClip());
        using var clip2 = new ClipTextModelWithProjection(golden.Config.GetProperty("clip2").AsClip());
        using var t5 = new T5Encoder(golden.Config.GetProperty("t5").AsT5());
        clip.Load(golden.State("clip_weights_file"), device: TestDevice.Current);
        clip2.Load(golden.State("clip2_weights_file"), device: TestDevice.Current);
        t5.Load(golden.State("t5_weights_file"), device: TestDevice.Current);
        var features = Sd3PromptEncoder.EncodeIds([clip, clip2],
            [golden.Tensor("in/clip_input_ids"), golden.Tensor("in/clip2_input_ids")], t5, golden.Tensor("in/t5_input_ids"), Lengths(golden));
        golden.AssertClose("out/pooled_prompt_embeds", features.Pooled);
        AssertTokens(golden, features, t5);
    }

    private static int[] Lengths(GoldenCase golden) =>
        [.. golden.Tensor("in/t5_attention_mask").Sum([1]).ToArray<long>().Select(n => (int)n)];

    // The reference gives features of padding too: the encoder must match them all, trimmed prompts the true ones.
    private static void AssertTokens(GoldenCase golden, PromptFeatures features, T5Encoder t5)
    {
        var mask = golden.Tensor("in/t5_attention_mask");
        golden.AssertClose("out/prompt_embeds", t5.Forward(golden.Tensor("in/t5_input_ids"), mask));
        Assert.Equal(golden.Tensor("out/prompt_attention_mask").ToArray<long>(), mask.ToArray<long>());
        var expected = golden.Tensor("out/prompt_embeds");
        Assert.Equal(features.Lengths.Max(), features.Tokens.Shape[1]);
        for (var row = 0; row < features.Lengths.Length; row++)
        {
            var n = features.Lengths[row];
            GoldenTensors.AssertClose(expected.Select(0, row).Narrow(0, 0, n), features.Tokens.Select(0, row).Narrow(0, 0, n),
                golden.Atol, golden.Rtol, $"true tokens of row {row}");
        }
    }
}

internal static class JsonElements
{
    internal static T5EncoderConfig AsT5(this JsonElement config) => T5EncoderConfig.Parse(Bytes(config), "golden config");

    internal static ClipTextConfig AsClip(this JsonElement config) => ClipTextConfig.Parse(Bytes(config), "golden config");

    private static byte[] Bytes(JsonElement config) => Encoding.UTF8.GetBytes(config.GetRawText());
}
