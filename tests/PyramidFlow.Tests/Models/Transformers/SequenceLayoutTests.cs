using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Tests.Models.Transformers;

public class SequenceLayoutTests
{
    private static readonly ClipSize[] Clips = [new(2, 1, 2), new(1, 2, 4)];

    [Fact]
    public void Frames_see_the_text_and_what_came_before()
    {
        using var layout = new SequenceLayout(Mask(3, 1), Clips, [2, 4, 4], causal: true);
        Assert.Equal(3, layout.TextLength);
        Assert.Equal([5, 7, 15], layout.Shape.FrameEnds);
        Assert.Equal(7, layout.PrefixLength);
        Assert.Equal([(0, 5, 5), (5, 7, 7), (7, 15, 15)], layout.Shape.Ranges(0, 15));
        Assert.Equal([(6, 7, 7), (7, 9, 15)], layout.Shape.Ranges(6, 3));
    }

    [Fact]
    public void Without_the_causal_mask_everything_sees_everything()
    {
        using var layout = new SequenceLayout(Mask(3, 1), Clips, [2, 4, 4], causal: false);
        Assert.Equal([(0, 15, 15)], layout.Shape.Ranges(0, 15));
    }

    [Fact]
    public void Padding_is_cut_to_the_longest_row_and_hidden_from_the_others()
    {
        using var scope = new TensorScope();
        using var layout = new SequenceLayout(Mask(3, 1), Clips, [2, 4, 4], causal: true);
        Assert.True(layout.HasPadding);
        var bias = layout.KeyBias(ElementType.Float32);
        Assert.Equal([2, 1, 15], bias.Shape);
        Assert.Equal(2, bias.Eq(double.NegativeInfinity).To(ElementType.Int64).Sum().Item());
        using var even = new SequenceLayout(Mask(2, 2), Clips, [2, 4, 4], causal: true);
        Assert.False(even.HasPadding);
        Assert.Equal([1, 14, 14], even.WholeBias(ElementType.Float32).Shape);
    }

    [Fact]
    public void A_small_clip_spreads_over_the_unit()
    {
        Assert.Equal([0.5f, 2.5f], Rotary.Resample(4, 2));
        Assert.Equal([0f, 1, 2], Rotary.Resample(3, 3));
        Assert.Equal([0f, 0.25f, 0.75f, 1], Rotary.Resample(2, 4));
    }

    [Fact]
    public void Refuses_a_clip_of_odd_size()
    {
        using var scope = new TensorScope();
        var error = Assert.Throws<ArgumentException>(() => ClipSize.Of(Tensor.Zeros([1, 4, 1, 5, 6])));
        Assert.Contains("[1, 4, 1, 5, 6]", error.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Patches_join_to_the_clip_they_were_cut_from()
    {
        using var scope = new TensorScope();
        var clip = Tensor.Arange(0, 2 * 3 * 2 * 4 * 6).Reshape(2, 3, 2, 4, 6);
        var tokens = Patches.Cut(clip);
        Assert.Equal([2, 12, 12], tokens.Shape);
        Assert.Equal(clip.ToArray<float>(), Patches.Join(tokens, ClipSize.Of(clip)).ToArray<float>());
    }

    private static TextMask Mask(params int[] lengths)
    {
        using var scope = new TensorScope();
        return new TextMask(Tensor.From(lengths.SelectMany(n => Enumerable.Range(0, 6).Select(i => i < n ? 1L : 0L)).ToArray(), lengths.Length, 6));
    }
}
