using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

/// <summary>Against counts by hand, in multiply-adds, term by term.</summary>
public class DitFlopsTests
{
    // d = 8, d² = 64; text 3, history 1, unit 2 tokens. The prefix's 4 tokens see 4 keys each, the unit's 2 see 6.
    private static readonly PyramidFluxConfig Flux = new(InChannels: 4, NumLayers: 1, NumSingleLayers: 2, AttentionHeadDim: 8,
        NumAttentionHeads: 1, JointAttentionDim: 6, PooledProjectionDim: 5, AxesDimsRope: [2, 2, 4]);

    private static readonly PyramidMmditConfig Mmdit = new(InChannels: 1, NumLayers: 3, AttentionHeadDim: 8, NumAttentionHeads: 1,
        CaptionProjectionDim: 8, JointAttentionDim: 6, PooledProjectionDim: 5);

    private const long Conditioning = (256 * 8) + 64 + (5 * 8) + 64;
    private const long Modulation = Conditioning + (12 * 64) + (2 * 3 * 64) + (2 * 64);
    private const long PrefixBlock = (4 * 12 * 64) + (2 * 8 * 16), UnitBlock = (2 * 12 * 64) + (2 * 8 * 12);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public void Passes_are_counted_as_by_hand(int rows)
    {
        const long prefix = Modulation + (3 * 6 * 8) + (1 * 4 * 8) + (2 * PrefixBlock) + (4 * 2 * 64);
        const long unit = (2 * 4 * 8) + (3 * UnitBlock) + (2 * 8 * 4);
        Assert.Equal(2 * rows * prefix, DitFlops.Prefix(Flux, Shape(rows)));
        Assert.Equal(21680, 2 * prefix);
        Assert.Equal(2 * rows * unit, DitFlops.Unit(Flux, Shape(rows)));
        Assert.Equal(10624, 2 * unit);
    }

    [Fact]
    public void Prefix_and_unit_are_together_the_joint_pass()
    {
        Assert.Equal(32304, DitFlops.Joint(Flux, Shape(1)));
        Assert.Equal(32304, DitFlops.Prefix(Flux, Shape(1)) + DitFlops.Unit(Flux, Shape(1)));
    }

    [Fact]
    public void The_mmdit_differs_in_its_modulation_only()
    {
        const long modulation = Conditioning + (((12 + 12 + 6 + 2) + 2) * 64);
        Assert.Equal(2 * (modulation - Modulation), DitFlops.Joint(Mmdit, Shape(1)) - DitFlops.Joint(Flux, Shape(1)));
    }

    [Fact]
    public void Training_costs_three_passes() =>
        Assert.Equal(3 * 32304, DitFlops.Training(Flux, Shape(1)));

    [Fact]
    public void Without_the_causal_mask_every_token_sees_every_other()
    {
        var pairs = DitFlops.Joint(Flux, Shape(1) with { Causal = false }) - DitFlops.Joint(Flux, Shape(1));

        // In two blocks the prefix's 4 tokens see 2 keys more; the last one asks for the unit's tokens only.
        Assert.Equal(2 * (2 * 2 * 8 * 8), pairs);
    }

    private static SequenceShape Shape(int rows) => new(rows, 3, [new ClipSize(1, 1, 1), new ClipSize(1, 1, 2)], Causal: true);
}
