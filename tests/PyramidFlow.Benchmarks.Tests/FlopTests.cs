using PyramidFlow.Transformers;
using PyramidFlow.Vae;

namespace PyramidFlow.Benchmarks.Tests;

/// <summary>Against counts by hand, in multiply-adds, term by term.</summary>
public class FlopTests
{
    // d = 8, d² = 64; text 3, history 1, unit 2 tokens. The prefix's 4 tokens see 4 keys each, the unit's 2 see 6.
    private static readonly PyramidFluxConfig Transformer = new(InChannels: 4, NumLayers: 1, NumSingleLayers: 2, AttentionHeadDim: 8,
        NumAttentionHeads: 1, JointAttentionDim: 6, PooledProjectionDim: 5, AxesDimsRope: [2, 2, 4]);

    private const long Conditioning = (256 * 8) + 64 + (5 * 8) + 64;
    private const long Modulation = Conditioning + (12 * 64) + (2 * 3 * 64) + (2 * 64);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Transformer_passes_are_counted_as_by_hand(int rows)
    {
        using var layout = Layout(rows);

        const long prefixBlock = (4 * 12 * 64) + (2 * 8 * 16), unitBlock = (2 * 12 * 64) + (2 * 8 * 12);
        const long prefix = Modulation + (3 * 6 * 8) + (1 * 4 * 8) + (2 * prefixBlock) + (4 * 2 * 64);
        const long unit = (2 * 4 * 8) + (3 * unitBlock) + (2 * 8 * 4);
        Assert.Equal(2 * rows * prefix, DitFlops.Prefix(Transformer, layout));
        Assert.Equal(21680, 2 * prefix);
        Assert.Equal(2 * rows * unit, DitFlops.Unit(Transformer, layout));
        Assert.Equal(10624, 2 * unit);
    }

    [Fact]
    public void Prefix_and_unit_are_together_the_joint_pass()
    {
        using var layout = Layout(rows: 1);

        Assert.Equal(32304, DitFlops.Joint(Transformer, layout));
        Assert.Equal(32304, DitFlops.Prefix(Transformer, layout) + DitFlops.Unit(Transformer, layout));
    }

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

    private static SequenceLayout Layout(int rows) => new(TextMask.OfLengths([.. Enumerable.Repeat(3, rows)]),
        [new ClipSize(1, 1, 1), new ClipSize(1, 1, 2)], Transformer.AxesDimsRope, causal: true);
}
