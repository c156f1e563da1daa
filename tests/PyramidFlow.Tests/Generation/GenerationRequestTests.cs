using PyramidFlow.Models;
using PyramidFlow.Generation;

namespace PyramidFlow.Tests.Generation;

public class GenerationRequestTests
{
    private static readonly PipelineSettings Released = PipelineSettings.Released(ModelFamilies.Flux, "384p");
    private static readonly GenerationOptions Request = new() { Prompt = "a cat" };

    public static TheoryData<GenerationOptions, string> Impossible => new()
    {
        { Request with { Height = 400 }, "height 400 is not a multiple of 64: use 384 or 448" },
        { Request with { Width = 20 }, "width 20 is not a multiple of 64: use 64" },
        { Request with { Width = 0 }, "width 0 is not positive: use a multiple of 64, such as 64" },
        { Request with { Width = -64 }, "width -64 is not positive: use a multiple of 64, such as 64" },
        { Request with { Width = int.MaxValue }, "width 2147483647 is not a multiple of 64: use 2147483584 or 2147483648" },
        { Request with { Width = 99968, Height = 99968 }, "99968x99968 is more than 16777216 pixels: use at most 4096x4096, or such as 640x384" },
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
        { Request with { ReusePrefix = 0 }, "a prefix cannot be reused for 0 steps: use 1 to 1000, such as 2, or 1 for exact results" },
        { Request with { GuidanceEvery = -2 }, "guidance cannot come every -2 steps: use 1 to 1000, such as 2, or 1 for exact results" },
        { Request with { Image = new byte[10] }, "the image has 10 bytes where 640x384 RGB pixels are 737280: bring it to that size" },
        { Request with { Frames = 9, Seconds = 1 }, "frames and seconds both say how long the video is: use one of them" },
        { Request with { Seconds = -1 }, "-1 seconds are no length: use 0 for a picture, or such as 5" },
        { Request with { Seconds = 1e9 }, "1000000000 seconds are longer than any video: use at most 43690" },
        { Request with { Frames = 8_000_001 }, "8000001 frames are more than any video has: use at most 1048569" },
        { Request with { Count = 0 }, "0 clips are none: use 1 or more" },
        { Request with { HistoryWindow = -1 }, "a history window of -1 latent frames is negative: use 0 to turn it off, or such as 15" },
        { Request with { NewFramesOnly = true }, "only new frames are asked for, but there is no video to go on from: give one, or leave this out" },
        { Request with { Video = new byte[10] }, "the video has 10 bytes, which are not whole frames of 737280 for 640x384 RGB pixels: bring its frames to that size" },
        { Request with { Video = new byte[737280], Image = new byte[737280] }, "an image, a video and latents to go on from exclude each other: give one of them" },
        { Request with { Video = new byte[737280], Frames = 9 }, "9 new frames are not a multiple of 8: use 8 or 16" },
        { Request with { Video = new byte[737280], Frames = 0 }, "0 new frames leave nothing to make: use 8 and more" },
        { Request with { Schedule = [new(1, "a dog"), new(1, "a cow")] }, "a prompt from second 1 on comes after one from second 1 on: later prompts need later times" },
        { Request with { Schedule = [new(0, "a dog")] }, "a prompt from second 0 on comes after one from second 0 on: later prompts need later times" },
        { Request with { Schedule = [new(1, " ")] }, "the prompt from second 1 on is empty: say what is to be seen" },
        { Request with { Schedule = [new(1, "a dog"), new(1.1, "a cow")] }, "the prompts from second 1 and from second 1.1 on fall into one unit of 0.33 seconds: put them further apart" },
        { Request with { Schedule = [new(6, "a dog")] }, "a prompt from second 6 on comes too late for 5.04 seconds of video: make it longer, or let the prompt begin earlier" },
        { Request with { Image = new byte[737280], Frames = 1 }, "the image is the first frame, so 1 frame leaves nothing to make: use 9 frames or more" },
    };

    [Theory]
    [MemberData(nameof(Impossible))]
    public void An_impossible_value_is_named_with_what_would_do(GenerationOptions request, string message) =>
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
        Assert.Equal(737280, settings.Pixels!.Value.Length);
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

    [Theory]
    [InlineData(0, 1)]
    [InlineData(0.1, 1)]
    [InlineData(5, 121)]
    [InlineData(1.2, 25 + 8)]
    public void Seconds_become_the_nearest_possible_number_of_frames(double seconds, int frames)
    {
        Assert.Equal(frames, (Request with { Seconds = seconds }).Resolve(Released).Frames);
        Assert.Equal(frames, VideoLength.Frames(seconds, 24));
    }

    [Fact]
    public void Seconds_after_a_given_video_are_those_of_new_frames_and_at_least_one_unit()
    {
        var further = Request with { Video = new byte[9 * 737280] };
        Assert.Equal(9 + 48, (further with { Seconds = 2 }).Resolve(Released).Frames);
        Assert.Equal(8, (further with { Seconds = 0, NewFramesOnly = true }).Resolve(Released).Frames);
        Assert.Equal(9 + 120, further.Resolve(Released).Frames);
        Assert.Equal(9 + 112, (further with { FramesPerUnit = 2 }).Resolve(Released).Frames);
    }

    [Fact]
    public void Prompts_of_a_schedule_begin_with_units_and_have_the_suffix()
    {
        var settings = (Request with { Schedule = [new(0.01, "a dog"), new(1, "a cow")], PromptSuffix = "!" }).Resolve(Released);
        Assert.Equal([new(0, "a cat!"), new(1, "a dog!"), new(4, "a cow!")], settings.Prompts);
        Assert.Equal(["a cat!", "a dog!", "a dog!", "a dog!", "a cow!", "a cow!"], Enumerable.Range(0, 6).Select(settings.PromptOf));
    }

    [Fact]
    public void A_size_the_checkpoint_was_not_trained_on_is_a_warning()
    {
        Assert.Empty(Request.Resolve(Released).Warnings);
        Assert.Equal(["this checkpoint was trained on 640x384: 384x640 may look worse"],
            (Request with { Width = 384, Height = 640 }).Resolve(Released).Warnings);
        var picture = PipelineSettings.Released(ModelFamilies.Flux, "image");
        Assert.Equal(["this checkpoint was trained on pictures only: each part is made from the 1 latent frame before it"],
            (Request with { Frames = 9 }).Resolve(picture).Warnings);
    }

    [Fact]
    public void Half_of_a_character_and_NUL_are_refused_in_every_text()
    {
        foreach (var text in (string[])["cut \uD83D", "\uDE00", "a\0b"])
        {
            foreach (var request in (GenerationOptions[])[Request with { Prompt = text }, Request with { NegativePrompt = text }, Request with { PromptSuffix = text }, Request with { Schedule = [new(2, text)] }])
                Assert.Contains("write whole characters", Assert.Throws<ArgumentException>(() => request.Resolve(Released)).Message, StringComparison.Ordinal);
        }

        Assert.Equal("\uD83D\uDE00", (Request with { Prompt = "\uD83D\uDE00" }).Resolve(Released with { PromptSuffix = "" }).Prompt);
    }
}
