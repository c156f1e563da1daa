using System.Text.Json;
using Bunit;
using PyramidFlow.Generation;
using PyramidFlow.Scheduling;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Page.Tests.Components;

/// <summary>"Use these settings": all that made a video stands in the form again, whether there is a field for it or not.</summary>
public sealed class ReuseTests : PageContext
{
    private static readonly VideoRequest Every = new()
    {
        Prompt = "a small red circle",
        Schedule = [new(1, "a small blue circle")],
        NegativePrompt = "blur",
        PromptSuffix = ", red",
        Model = FakeVideoJobs.Sprites.Id,
        Width = 128,
        Height = 192,
        Frames = 17,
        Seconds = 0.67,
        FramesPerSecond = 12.5,
        Steps = [4, 5, 6],
        VideoSteps = [3, 3, 3],
        Guidance = 6.5,
        VideoGuidance = 0,
        LinearGuidance = new(0.5, 1),
        FramesPerUnit = 2,
        HistoryWindow = 3,
        SampleImage = true,
        ReusePrefix = 2,
        GuidanceEvery = 3,
        Solver = FlowSolvers.SecondOrder,
        Loras = [new("style", 0.8), new("panda")],
        Seed = ulong.MaxValue,
        Input = new(VideoInputKind.Image),
        RemixedFrom = "video_1",
    };

    [Fact]
    public void Every_setting_of_a_video_comes_back_and_survives_a_reload()
    {
        Assert.All(SettingsTable.All.Where(setting => setting.Field is not null), setting =>
            Assert.False(setting.Get(Every)?.Equals(setting.Usual) ?? true, $"{setting} is not set by this test"));
        var job = new VideoJob { Id = "video_1", Owner = Owner.Local, Request = Every };
        var (draft, reloaded, errors) = (new Draft(), new Draft(), new Dictionary<string, string>());
        draft.Use(job, FakeVideoJobs.Sprites);
        KeptDraft.FromJson(KeptDraft.Of(draft, FakeVideoJobs.Sprites).ToJson())!.Restore(reloaded, FakeVideoJobs.Sprites, null, job);

        foreach (var read in new[] { draft, reloaded })
        {
            var again = new DraftReader(FakeVideoJobs.Sprites, errors).Read(read);
            // The length stands in the form as frames, and equal steps of all stages as one number.
            Assert.Equal(JsonSerializer.Serialize(Every with { Seconds = null, VideoSteps = [3] }), JsonSerializer.Serialize(again));
        }

        Assert.Empty(errors);
    }

    [Fact]
    public void Labelled_settings_stand_in_their_inputs_and_go_back_to_the_model_s()
    {
        Jobs.Add(VideoStatus.Completed, Every with { Input = null, RemixedFrom = null });
        var page = Open();
        Press(page, "Use these settings");
        Assert.Equal((", red", "12.5", "0.5,1", "2", "3", "2", "3", "second-order"), (Value("prompt_suffix"), Value("fps"), Value("linear_guidance"), Value("frames_per_unit"),
            Value("history"), Value("reuse_prefix"), Value("guidance_every"), Value("solver")));
        Assert.True(page.Find("#sample_image").HasAttribute("checked"));
        Assert.Equal(("0.8", "1"), (page.Find("[aria-label='Weight of style']").GetAttribute("value"), page.Find("[aria-label='Weight of panda']").GetAttribute("value")));
        page.Find("form").Submit();
        Press(page, "Back to the model's own settings");
        page.Find("form").Submit();
        Assert.Equal(2, Jobs.Requests.Count);
        Assert.All(Draft.LabelledSettings, setting => Assert.True(setting.IsSame(Every, Jobs.Requests[0]), $"{setting} was not sent"));
        Assert.All(Draft.LabelledSettings, setting => Assert.Null(setting.Get(Jobs.Requests[1])));

        string? Value(string field) => page.Find($"#{field}").GetAttribute("value");
    }

    [Fact]
    public void Several_videos_have_seeds_that_follow_one_another_and_belong_together()
    {
        var page = Open();
        page.Find("#prompt").Input("a small red circle");
        page.FindAll("input[name=count]")[2].Change("on");
        page.Find("form").Submit();
        Assert.Equal([null, 1002UL, 1003UL], Jobs.Requests.Select(request => request.Seed));
        var first = Studio.Shown!;
        Assert.Equal([null, first.Id, first.Id], Jobs.Requests.Select(request => request.Group));
        Assert.Equal([1001UL, 1002, 1003], Studio.Versions.Select(job => job.Request.Seed!.Value));

        Jobs.Move(first.Id, job => job with { Status = VideoStatus.Completed, Result = new VideoResult(49, 1000, 1, []) });
        page.WaitForAssertion(() => Assert.True(Studio.Shown!.HasEnded));
        Press(page, "More like this");
        page.WaitForAssertion(() => Assert.Equal(4, Jobs.Requests.Count));
        Assert.Equal((null, first.Id, "a small red circle"), (Jobs.Requests[^1].Seed, Jobs.Requests[^1].Group, Jobs.Requests[^1].Prompt));
    }

    [Fact]
    public void A_labelled_setting_that_cannot_be_taken_is_told_beside_its_input()
    {
        var page = Open();
        page.Find("#history").Change("many");
        page.Find("form").Submit();
        Assert.Empty(Jobs.Requests);
        Assert.Contains("“many” cannot be taken: use a whole number from 0.", page.Find("#history-error").TextContent, StringComparison.Ordinal);
    }
}
