using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Page.Tests.Components;

public sealed class WordsTests
{
    [Theory]
    [InlineData(1.2, "a moment")]
    [InlineData(11.6, "about 12 s")]
    [InlineData(42, "about 40 s")]
    [InlineData(100, "about 2 min")]
    [InlineData(7300, "about 2 h 1 min")]
    public void A_time_left_is_as_exact_as_it_can_be_known(double seconds, string words) => Assert.Equal(words, Words.About(seconds));

    [Theory]
    [InlineData(1, "Next in the queue")]
    [InlineData(2, "2nd in the queue")]
    [InlineData(11, "11th in the queue")]
    [InlineData(23, "23rd in the queue")]
    public void A_place_is_an_ordinal(int position, string words) => Assert.Equal(words, Words.Place(position));

    [Fact]
    public void Sizes_to_choose_can_be_made_and_have_about_the_pixels_of_the_training()
    {
        var model = FakeVideoJobs.Sprites with { Settings = FakeVideoJobs.Sprites.Settings with { Width = 640, Height = 384 } };
        var sizes = SizeChoice.Of(model);
        Assert.Equal((640, 384), (sizes[0].Width, sizes[0].Height));
        Assert.All(sizes, size => Assert.Equal((0, 0), (size.Width % model.SizeMultiple, size.Height % model.SizeMultiple)));
        Assert.All(sizes, size => Assert.InRange(size.Width * size.Height / (640.0 * 384), 0.75, 1.3));
        Assert.Contains(sizes, size => size.Width < size.Height);
    }

    [Fact]
    public void A_download_is_named_after_its_prompt_and_nothing_in_it_is_a_path()
    {
        var job = new VideoJob { Id = VideoId.New(), Owner = Owner.Local, Request = new VideoRequest { Prompt = "../../Red: a \"fox\"/den?", Seed = 7 } };
        Assert.Equal("red-a-fox-den-7.mp4", job.FileName());
    }
}
