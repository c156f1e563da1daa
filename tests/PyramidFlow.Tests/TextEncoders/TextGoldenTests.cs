using System.Globalization;
using PyramidFlow.Testing;
using PyramidFlow.TextEncoders;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.TextEncoders;

[Trait("golden", "text")]
public sealed class TextGoldenTests
{
    [Theory]
    [MemberData(nameof(Goldens.Names), "t5_encoder", MemberType = typeof(Goldens))]
    public void T5_encoder_matches(string name)
    {
        using var golden = Goldens.Open("t5_encoder", name);
        using var scope = new TensorScope();
        using var model = new T5Encoder(golden.Config.AsT5());
        model.Load(golden.State());
        var ids = golden.Tensor("in/input_ids");
        var mask = golden.Has("in/attention_mask") ? golden.Tensor("in/attention_mask") : null;
        golden.AssertClose("out/last_hidden_state", model.Forward(ids, mask));
        if (golden.Has("out/last_hidden_state_no_mask"))
            golden.AssertClose("out/last_hidden_state_no_mask", model.Forward(ids));
    }

    [Theory]
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

    [Theory]
    [MemberData(nameof(Goldens.Names), "clip_text", MemberType = typeof(Goldens))]
    public void Clip_text_matches(string name)
    {
        using var golden = Goldens.Open("clip_text", name);
        using var scope = new TensorScope();
        using var model = new ClipTextModel(golden.Config.AsClip());
        model.Load(golden.State());
        var (hidden, pooled) = model.Forward(golden.Tensor("in/input_ids"));
        golden.AssertClose("out/last_hidden_state", hidden);
        golden.AssertClose("out/pooler_output", pooled);
    }

    [Theory]
    [MemberData(nameof(Goldens.Names), "clip_text_projection", MemberType = typeof(Goldens))]
    public void Clip_text_with_projection_matches(string name)
    {
        using var golden = Goldens.Open("clip_text_projection", name);
        using var scope = new TensorScope();
        using var model = new ClipTextModelWithProjection(golden.Config.AsClip());
        model.Load(golden.State());
        var (hidden, pooled) = model.Forward(golden.Tensor("in/input_ids"));
        golden.AssertClose("out/last_hidden_state", hidden);
        golden.AssertClose("out/text_embeds", pooled);
    }
}
