using PyramidFlow.Testing;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public class BucketsTests
{
    private static readonly Buckets Released = new(["1024x1024", "768x1280", "1280x768"], [121, 49, 9]);

    [Theory]
    [InlineData(500, 500, 1024, 1024)]
    [InlineData(1920, 1080, 1280, 768)]
    [InlineData(1080, 1920, 768, 1280)]
    [InlineData(1100, 1000, 1024, 1024)]
    public void An_image_goes_to_the_size_of_nearest_shape(int width, int height, int toWidth, int toHeight) =>
        Assert.Equal(new Bucket(toWidth, toHeight, 1), Released.Nearest(width, height, frames: null));

    [Theory]
    [InlineData(500, 121)]
    [InlineData(121, 121)]
    [InlineData(120, 49)]
    [InlineData(9, 9)]
    public void A_video_goes_to_the_longest_length_that_fits(int frames, int length) =>
        Assert.Equal(length, Released.Nearest(640, 384, frames)!.Value.Frames);

    [Fact]
    public void A_video_that_is_too_short_has_no_bucket() => Assert.Null(Released.Nearest(640, 384, 8));

    [Theory]
    [InlineData("640", "size_malformed", "size=640")]
    [InlineData("640x380", "size_not_multiple", "size=640x380 fit=640x384")]
    [InlineData("0x8", "size_not_multiple", "size=0x8 multiple=8")]
    public void An_impossible_size_says_what_would_be_possible(string size, string code, string parameters) =>
        FaultAssert.Has(Assert.Throws<TrainingException>(() => new Buckets([size], [9])), code, parameters);

    [Fact]
    public void An_impossible_length_says_what_would_be_possible() =>
        FaultAssert.Is(Assert.Throws<TrainingException>(() => new Buckets(["64x64"], [24])), "frames_not_whole", ("frames", 24), ("below", 17), ("above", 25));
}
