using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Testing;

namespace PyramidFlow.Tests.Generation;

public class GenerationRequestTests
{
    private static readonly PipelineSettings Released = PipelineSettings.Released(ModelFamilies.Flux, "384p");
    private static readonly GenerationOptions Request = new() { Prompt = "a cat" };

    public static TheoryData<GenerationOptions, string, string?, string> Impossible => new()
    {
        { Request with { Height = 400 }, "size_not_multiple", "size", "side=height value=400 multiple=64 above=448" },
        { Request with { Width = 20 }, "size_not_multiple", "size", "side=width value=20 multiple=64 above=64" },
        { Request with { Width = 0 }, "size_not_positive", "size", "side=width value=0 multiple=64" },
        { Request with { Width = -64 }, "size_not_positive", "size", "side=width value=-64 multiple=64" },
        { Request with { Width = int.MaxValue }, "size_not_multiple", "size", "side=width value=2147483647 above=2147483648" },
        { Request with { Width = 99968, Height = 99968 }, "size_too_large", "size", "size=99968x99968 most_pixels=16777216" },
        { Request with { Frames = 0 }, "no_frames", "frames", "frames=0 video=9" },
        { Request with { Frames = 24 }, "frames_not_whole", "frames", "frames=24 multiple=8 below=17 above=25" },
        { Request with { Frames = 9, FramesPerUnit = 2 }, "frames_not_whole", "frames", "frames=9 multiple=16 below=1 above=17" },
        { Request with { FramesPerUnit = 0 }, "frames_per_unit_out_of_range", "frames_per_unit", "value=0 least=1 most=1024" },
        { Request with { Steps = [20, 20] }, "steps_per_stage", "steps", "numbers=2 stages=3" },
        { Request with { VideoSteps = [] }, "steps_per_stage", "video_steps", "numbers=0 stages=3" },
        { Request with { VideoSteps = [10, 0, 10] }, "steps_out_of_range", "video_steps", "value=0 least=1 most=1000" },
        { Request with { Steps = [20, 20, 1001] }, "steps_out_of_range", "steps", "value=1001 least=1 most=1000" },
        { Request with { Prompt = "  " }, "prompt_empty", "prompt", "" },
        { Request with { Guidance = -1 }, "guidance_out_of_range", "guidance", "value=-1 least=0" },
        { Request with { VideoGuidance = double.NaN }, "guidance_out_of_range", "video_guidance", "value=NaN least=0" },
        { Request with { LinearGuidance = new(double.PositiveInfinity, 2) }, "guidance_out_of_range", "linear_guidance", "value=Infinity least=0" },
        { Request with { LinearGuidance = new(0.5, -2) }, "guidance_out_of_range", "linear_guidance", "value=-2 least=0" },
        { Request with { ReusePrefix = 0 }, "reuse_prefix_out_of_range", "reuse_prefix", "value=0 least=1 most=1000" },
        { Request with { GuidanceEvery = -2 }, "guidance_every_out_of_range", "guidance_every", "value=-2 least=1 most=1000" },
        { Request with { FramesPerSecond = 241 }, "fps_out_of_range", "fps", "value=241 least=1 most=240" },
        { Request with { Image = new byte[10] }, "image_bytes", null, "bytes=10 expected=737280" },
        { Request with { Frames = 9, Seconds = 1 }, "two_lengths", "seconds", "" },
        { Request with { Seconds = -1 }, "seconds_negative", "seconds", "seconds=-1" },
        { Request with { Seconds = 1e9 }, "too_many_seconds", "seconds", "seconds=1000000000 most=43690" },
        { Request with { Frames = 8_000_001 }, "too_many_frames", "frames", "frames=8000001 most=1048569" },
        { Request with { Count = 0 }, "no_clips", null, "count=0" },
        { Request with { HistoryWindow = -1 }, "history_negative", "history", "value=-1 example=15" },
        { Request with { NewFramesOnly = true }, "new_only_without_video", "new_only", "" },
        { Request with { Video = new byte[10] }, "video_bytes", null, "bytes=10 frame=737280" },
        { Request with { Video = new byte[737280], Image = new byte[737280] }, "two_beginnings", null, "" },
        { Request with { Video = new byte[737280], Frames = 9 }, "new_frames_not_whole", "frames", "frames=9 multiple=8 above=16" },
        { Request with { Video = new byte[737280], Frames = 0 }, "no_new_frames", "frames", "frames=0 multiple=8" },
        { Request with { Schedule = [new(1, "a dog"), new(1, "a cow")] }, "prompts_out_of_order", "prompts", "second=1 before=1" },
        { Request with { Schedule = [new(0, "a dog")] }, "prompts_out_of_order", "prompts", "second=0 before=0" },
        { Request with { Schedule = [new(1, " ")] }, "prompt_empty", "prompts", "second=1" },
        { Request with { Schedule = [new(1, "a dog"), new(1.1, "a cow")] }, "prompts_too_close", "prompts", "second=1.1 before=1" },
        { Request with { Schedule = [new(6, "a dog")] }, "prompt_too_late", "prompts", "second=6" },
        { Request with { Image = new byte[737280], Frames = 1 }, "no_new_frames", "frames", "frames=1 video=9" },
    };

    [Theory]
    [MemberData(nameof(Impossible))]
    public void An_impossible_value_is_named_with_what_would_do(GenerationOptions request, string code, string? setting, string parameters)
    {
        var error = Assert.Throws<RequestException>(() => request.Resolve(Released));
        FaultAssert.Has(error, code, parameters);
        Assert.Equal(setting, error.Setting);
    }

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
    public void Pictures_and_frames_bring_their_size()
    {
        var picture = Request.WithImage(new RgbImage(192, 128, new byte[192 * 128 * 3]));
        var video = Request.WithVideo(new VideoFrames(9, 192, 128, new byte[9 * 192 * 128 * 3]));
        Assert.Equal((192, 128, 192 * 128 * 3), (picture.Resolve(Released).Width, picture.Resolve(Released).Height, picture.Image!.Value.Length));
        Assert.Equal((192, 128, 9 * 192 * 128 * 3), (video.Resolve(Released).Width, video.Resolve(Released).Height, video.Video!.Value.Length));
    }

    [Fact]
    public void Linear_guidance_falls_to_its_minimum()
    {
        var plan = (Request with { Frames = 33, Guidance = 3, LinearGuidance = new(0.5, 2) }).Resolve(Released).Sampling;
        Assert.Equal([3.0, 2.5, 2.0, 2.0, 2.0], plan.Guidance);
        var off = (Request with { Frames = 17, Guidance = 0, LinearGuidance = new(0.5, 2) }).Resolve(Released).Sampling;
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
                FaultAssert.Is(Assert.Throws<RequestException>(() => request.Resolve(Released)), "text_not_whole");
        }

        Assert.Equal("\uD83D\uDE00", (Request with { Prompt = "\uD83D\uDE00" }).Resolve(Released with { PromptSuffix = "" }).Prompt);
    }
}
