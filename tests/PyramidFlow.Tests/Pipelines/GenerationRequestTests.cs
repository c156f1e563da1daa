using PyramidFlow.Hub;
using PyramidFlow.Pipelines;

namespace PyramidFlow.Tests.Pipelines;

public class GenerationRequestTests
{
    private static readonly PipelineSettings Released = PipelineSettings.Released(ModelFamily.Flux, "384p");
    private static readonly GenerationRequest Request = new() { Prompt = "a cat" };

    public static TheoryData<GenerationRequest, string> Impossible => new()
    {
        { Request with { Height = 400 }, "height 400 is not a multiple of 64: use 384 or 448" },
        { Request with { Width = 20 }, "width 20 is not a multiple of 64: use 64" },
        { Request with { Width = 0 }, "width 0 is not positive: use a multiple of 64, such as 64" },
        { Request with { Width = -64 }, "width -64 is not positive: use a multiple of 64, such as 64" },
        { Request with { Width = int.MaxValue }, "width 2147483647 is not a multiple of 64: use 2147483584 or 2147483648" },
        { Request with { Frames = 0 }, "0 frames are no video: use 1 for a picture, or 9 and more" },
        { Request with { Frames = 24 }, "24 frames are not 1 more than a multiple of 8: use 17 or 25" },
        { Request with { Frames = 9, FramesPerUnit = 2 }, "9 frames are not 1 more than a multiple of 16: use 1 or 17" },
        { Request with { FramesPerUnit = 0 }, "0 latent frames per unit are not 1 to 1024: use 1" },
        { Request with { Steps = [20, 20] }, "steps has 2 numbers for 3 stages: use such as 20,20,20" },
        { Request with { VideoSteps = [] }, "video steps has 0 numbers for 3 stages: use such as 20,20,20" },
        { Request with { VideoSteps = [10, 0, 10] }, "video steps has 0: every stage needs 1 to 1000, such as 20" },
        { Request with { Steps = [20, 20, 1001] }, "steps has 1001: every stage needs 1 to 1000, such as 20" },
        { Request with { Prompt = "  " }, "the prompt is empty: say what is to be seen, or give an image to go on from" },
        { Request with { Guidance = -1 }, "guidance -1 is not 0 or more: use 0 to turn it off, or such as 7" },
        { Request with { VideoGuidance = double.NaN }, "video guidance NaN is not 0 or more: use 0 to turn it off, or such as 7" },
        { Request with { LinearGuidance = (double.PositiveInfinity, 2) }, "the alpha of linear guidance Infinity is not 0 or more: use 0 to turn it off, or such as 7" },
        { Request with { Image = new byte[10] }, "the image has 10 bytes where 640x384 RGB pixels are 737280: bring it to that size" },
        { Request with { Image = new byte[737280], Frames = 1 }, "the image is the first frame, so 1 frame leaves nothing to make: use 9 frames or more" },
    };

    [Theory]
    [MemberData(nameof(Impossible))]
    public void An_impossible_value_is_named_with_what_would_do(GenerationRequest request, string message) =>
        Assert.Equal(message, Assert.Throws<ArgumentException>(() => request.Resolve(Released)).Message);

    [Fact]
    public void Values_left_out_are_the_checkpoints()
    {
        var settings = Request.Resolve(Released);
        Assert.Equal("a cat, hyper quality, Ultra HD, 8K", settings.Prompt);
        Assert.Equal(Released.NegativePrompt, settings.NegativePrompt);
        Assert.Equal((640, 384, 121), (settings.Width, settings.Height, settings.Frames));
        var plan = settings.Sampling;
        Assert.Equal((48, 80, 16, 16, 3), (plan.Height, plan.Width, plan.Units, plan.Frames, plan.Stages));
        Assert.Equal([20, 20, 20], plan.StepsOf(0));
        Assert.Equal([10, 10, 10], plan.StepsOf(1));
        Assert.Equal([7.0, 5.0], plan.Guidance.Take(2));
        Assert.True(settings.IsGuided);
    }

    [Fact]
    public void An_empty_prompt_is_fine_with_an_image()
    {
        var settings = (Request with { Prompt = "", Image = new byte[737280] }).Resolve(Released);
        Assert.Equal(737280, settings.Image!.Value.Length);
    }

    [Fact]
    public void Linear_guidance_falls_to_its_minimum()
    {
        var plan = (Request with { Frames = 33, Guidance = 3, LinearGuidance = (0.5, 2) }).Resolve(Released).Sampling;
        Assert.Equal([3.0, 2.5, 2.0, 2.0, 2.0], plan.Guidance);
        var off = (Request with { Frames = 17, Guidance = 0, LinearGuidance = (0.5, 2) }).Resolve(Released).Sampling;
        Assert.All(off.Guidance, Assert.Null);
    }

    [Fact]
    public void Guidance_of_0_is_off_for_its_own_units_only()
    {
        var settings = (Request with { Frames = 17, Guidance = 0 }).Resolve(Released);
        Assert.Equal([null, 5.0, 5.0], settings.Sampling.Guidance);
        Assert.True(settings.IsGuided);
        var image = (Request with { Frames = 17, VideoGuidance = 0, Image = new byte[737280] }).Resolve(Released);
        Assert.False(image.IsGuided);
    }

    [Fact]
    public void Fewer_stages_allow_smaller_multiples()
    {
        var settings = (Request with { Height = 96, Steps = [5, 5], VideoSteps = [5, 5] }).Resolve(Released with { Steps = [10, 10] });
        Assert.Equal((96, 2), (settings.Height, settings.Sampling.Stages));
    }
}
