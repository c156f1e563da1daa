using PyramidFlow.Models;

namespace PyramidFlow.Benchmarks.Tests;

/// <summary>Against counts by hand, in multiply-adds, term by term.</summary>
public class FlopTests
{
    [Fact]
    public void Vae_of_one_frame_is_counted_as_by_hand()
    {
        var config = CausalVideoVaeConfig.Uniform([4], encoderLayers: 1, decoderLayers: 1, latentChannels: 2, groups: 2);

        const long middle = (4 * 9 * 16 * 4) + (4 * 16 * 4) + (2 * 4 * 16);
        const long level = 2 * 9 * 16 * 4;
        Assert.Equal(2 * ((9 * 12 * 4) + level + middle + (9 * 16 * 4) + (16 * 4)), VaeFlops.Encode(config, 1, 2, 2));
        Assert.Equal(2 * ((4 * 4) + (9 * 8 * 4) + middle + level + (9 * 12 * 4)), VaeFlops.Decode(config, 1, 2, 2));
    }

    [Fact]
    public void Vae_that_doubles_size_and_frames_is_counted_as_by_hand()
    {
        var config = CausalVideoVaeConfig.Uniform([4, 8], encoderLayers: 1, decoderLayers: 1, latentChannels: 2, groups: 2);

        const long start = (2 * 2 * 2) + (27 * 16 * 2) + (4 * 27 * 64 * 2) + (4 * 64 * 2) + (2 * 8 * 2);
        const long coarse = (2 * 27 * 64 * 2) + (27 * 8 * 32 * 2) + (27 * 8 * 16 * 8);
        const long fine = (27 * 32 * 12) + (27 * 16 * 12) + (32 * 12) + (27 * 12 * 12);
        Assert.Equal(2 * (start + coarse + fine), VaeFlops.Decode(config, 2, 1, 1));
        Assert.Equal(166896, 2 * (start + coarse + fine));
    }

    // 2 heads of 3 in a width of 4: 4 x 24 for attention's layers, 3 x 20 for the gated part; 7 x 7 pairs, in two products.
    [Fact]
    public void T5_is_counted_as_by_hand() =>
        Assert.Equal(2 * 5 * 2 * ((7 * ((4 * 24) + (3 * 20))) + (2 * 49 * 6)),
            TextFlops.T5(new T5EncoderConfig(VocabSize: 9, DModel: 4, DKv: 3, DFf: 5, NumLayers: 2, NumHeads: 2, FeedForwardProj: "gated-gelu"), rows: 5, tokens: 7));

    [Fact]
    public void A_feed_forward_part_without_a_gate_has_a_product_less() =>
        Assert.Equal(2 * 7 * 20, TextFlops.T5(Plain with { IsGatedAct = true }, 1, 7) - TextFlops.T5(Plain, 1, 7));

    // A token of CLIP sees itself and those before it: 7 x 8 / 2 pairs.
    [Fact]
    public void Clip_is_counted_as_by_hand() =>
        Assert.Equal(2 * 5 * 3 * ((7 * ((4 * 16) + (2 * 4 * 6))) + (2 * 28 * 4)), TextFlops.Clip(new ClipTextConfig(9, 4, 6, 3, 2, 77, 2), rows: 5, tokens: 7));

    private static T5EncoderConfig Plain => new(VocabSize: 9, DModel: 4, DKv: 3, DFf: 5, NumLayers: 1, NumHeads: 2);
}
