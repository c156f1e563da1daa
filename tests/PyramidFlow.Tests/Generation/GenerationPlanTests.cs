using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public sealed class GenerationPlanTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<string> Kinds => ["image", "video"];

    [Theory]
    [MemberData(nameof(Kinds))]
    public async Task A_plan_is_made_before_pixels_are_read_and_gives_the_clip_of_a_request_with_pixels(string kind)
    {
        var (pixels, planned) = kind == "image" ? (TinyPipeline.Video(1), ConditioningInput.Image) : (TinyPipeline.Video(17), ConditioningInput.Video(17));
        var request = TinyPipeline.Request with { Frames = kind == "image" ? 17 : 16 };
        var whole = kind == "image" ? request with { Image = pixels } : request with { Video = pixels };

        var plan = tiny.Pipeline.Plan(request with { Conditioning = planned });
        var (before, after) = (plan.Clip, tiny.Pipeline.Plan(whole).Clip);
        Assert.Equal((after.Conditioning, after.Frames, after.HistoryFrames, after.IsContinuation), (before.Conditioning, before.Frames, before.HistoryFrames, before.IsContinuation));
        Assert.Equal(after.Prompts, before.Prompts);
        Assert.Equal(after.Warnings, before.Warnings);
        Assert.Equal(after.Sampling.Guidance, before.Sampling.Guidance);
        Assert.Null(before.Pixels);

        var run = tiny.Pipeline.GenerateAsync(plan.WithPixels(pixels), cancellationToken: Cancel);
        TinyPipeline.AssertEqual(await tiny.Chunks(whole), await TinyPipeline.Collect(run));
    }

    [Fact]
    public void Pixels_that_were_not_planned_are_refused_and_missing_ones_too()
    {
        var plan = tiny.Pipeline.Plan(TinyPipeline.Request with { Conditioning = ConditioningInput.Video(9), Frames = 8 });

        Refused("pixels_missing", () => tiny.Pipeline.GenerateAsync(plan, cancellationToken: Cancel));
        Refused("pixel_bytes", () => plan.WithPixels(TinyPipeline.Video(10)), ("expected", 3L * 64 * 64 * 9));
        Refused("pixels_not_planned", () => tiny.Pipeline.Plan(TinyPipeline.Request).WithPixels(TinyPipeline.Video(1)));
        Refused("two_beginnings", () => tiny.Pipeline.Plan(TinyPipeline.Request with { Conditioning = ConditioningInput.Image, Image = TinyPipeline.Video(1) }));
        foreach (var wrong in new[] { ConditioningInput.Video(0), new ConditioningInput(ConditioningKind.Image, 2), new ConditioningInput(ConditioningKind.Latents, 9) })
            Refused("conditioning_impossible", () => tiny.Pipeline.Plan(TinyPipeline.Request with { Conditioning = wrong }), ("frames", wrong.Frames), ("kind", $"{wrong.Kind}"));

        static void Refused(string code, Action action, params ReadOnlySpan<(string Name, object? Value)> parameters) => FaultAssert.Is(Assert.Throws<RequestException>(action), code, parameters);
    }

    [Fact]
    public void A_plan_for_other_options_is_refused()
    {
        var model = tiny.Pipeline.Model!;
        var options = new PipelineOptions { Device = TestDevice.Current };
        Assert.Equal(2, tiny.Pipeline.GenerateAsync(GenerationPlan.Of(TinyPipeline.Request with { Count = 2 }, model, options), cancellationToken: Cancel).Items.Count);
        foreach (var other in new[] { options with { Transformer = "runs/mine" }, options with { Vae = "runs/mine" }, options with { Type = ElementType.Float16 }, options with { Variant = "768p" }, options with { Loras = [new LoraUse("cat.safetensors")] } })
        {
            var plan = GenerationPlan.Of(TinyPipeline.Request, model, other);
            FaultAssert.Is(Assert.Throws<RequestException>(() => tiny.Pipeline.GenerateAsync(plan, cancellationToken: Cancel)), "plan_of_other_options");
        }
    }

    [Fact]
    public void A_budget_is_turned_into_a_placement_once_and_small_units_are_sampled_on_one_thread()
    {
        var model = PlannedModel.Released(ModelFamilies.Flux, "384p");
        var options = new PipelineOptions { Offload = Offload.Auto, Type = ElementType.BFloat16, MaxMemory = 5_000_000_000, Threads = 7 };
        var request = new GenerationOptions { Prompt = "a cat", Conditioning = ConditioningInput.Image };
        var plan = GenerationPlan.Of(request, model, options);

        var fitting = MemoryBudget.Fit(model, request.Resolve(model.Settings), ElementType.BFloat16, options, 5_000_000_000);
        var left = 5_000_000_000 - RunMemory.Of(model, plan.Clip, ElementType.BFloat16, fitting).Peak;
        Assert.Equal(fitting with { LoraCacheBytes = Math.Min(options.LoraCacheBytes, left) }, plan.Placement);
        Assert.Equal(7, plan.SamplingThreads(plan.Clip));
        var small = tiny.Pipeline.Plan(TinyPipeline.Request with { Frames = 1 });
        Assert.Equal(1, small.SamplingThreads(small.Clip));
    }

    [Fact]
    public async Task The_counted_length_of_a_video_is_that_of_the_frames_which_are_read()
    {
        using var folder = new TemporaryFolder();
        var file = folder.File("in.mp4");
        await using (var writer = VideoWriter.Create(file, TinyPipeline.Side, TinyPipeline.Side, new VideoWriterOptions { Fps = 12 }))
        {
            await writer.WriteFramesAsync(TinyPipeline.Video(31), Cancel);
            await writer.CompleteAsync(Cancel);
        }

        foreach (var (rate, most) in new[] { (12.0, 121), (12.0, 17), (8.0, 121), (24.0, 121), (24.0, 25), (8.0, 3) })
        {
            var counted = await ConditioningVideo.CountAsync(file, rate, most, Cancel);
            var options = new VideoReadOptions { Width = TinyPipeline.Side, Height = TinyPipeline.Side, Fps = rate };
            foreach (var earlier in new Func<ReadOnlyMemory<byte>, Task>?[] { null, _ => Task.CompletedTask })
                Assert.Equal(counted * TinyPipeline.FrameBytes, (await ConditioningVideo.ReadAsync(file, options, counted, earlier, Cancel)).Length);
        }
    }

    [Theory]
    [InlineData("size")]
    [InlineData("frames")]
    [InlineData("seconds")]
    [InlineData("steps")]
    [InlineData("video_steps")]
    [InlineData("guidance")]
    [InlineData("linear_guidance")]
    [InlineData("history")]
    [InlineData("frames_per_unit")]
    [InlineData("fps")]
    [InlineData("prompt")]
    [InlineData("prompts")]
    [InlineData("reuse_prefix")]
    public void A_refusal_names_the_setting_that_is_at_fault(string setting)
    {
        var request = new GenerationOptions { Prompt = "a cat" };
        request = setting switch
        {
            "size" => request with { Width = 100, Height = 64 },
            "frames" => request with { Frames = 10 },
            "seconds" => request with { Seconds = 1e9 },
            "steps" => request with { Steps = [1, 2] },
            "video_steps" => request with { VideoSteps = [0, 1, 1] },
            "guidance" => request with { Guidance = -1 },
            "linear_guidance" => request with { LinearGuidance = new(double.NaN, 2) },
            "history" => request with { HistoryWindow = -1 },
            "frames_per_unit" => request with { FramesPerUnit = 2000 },
            "fps" => request with { FramesPerSecond = 1000 },
            "prompt" => request with { Prompt = "" },
            "prompts" => request with { Schedule = [new(900, "a dog")] },
            _ => request with { ReusePrefix = 0 },
        };
        Assert.Equal(setting, Assert.Throws<RequestException>(() => request.Resolve(TinyCheckpoint.Settings)).Setting);
    }
}
