using System.Reflection;
using System.Text.Json;
using Bunit;
using PyramidFlow.Scheduling.Solvers;
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
        ReusePrefix = 2,
        GuidanceEvery = 3,
        Solver = FlowSolvers.SecondOrder,
        Seed = ulong.MaxValue,
        Input = new(VideoInputKind.Image),
        RemixedFrom = "video_1",
    };

    [Fact]
    public void Every_setting_of_a_video_comes_back_and_survives_a_reload()
    {
        Assert.All(typeof(VideoRequest).GetProperties(BindingFlags.Public | BindingFlags.Instance).Where(setting => setting.CanWrite), setting =>
            Assert.False(setting.GetValue(Every)?.Equals(setting.GetValue(new VideoRequest())) ?? true, $"{setting.Name} is not set by this test"));
        var job = new VideoJob { Id = "video_1", Owner = Owner.Local, Request = Every };
        var (draft, reloaded, errors) = (new Draft(), new Draft(), new Dictionary<string, string>());
        draft.Use(job, FakeVideoJobs.Sprites);
        KeptDraft.FromJson(KeptDraft.Of(draft, FakeVideoJobs.Sprites).ToJson())!.Restore(reloaded, FakeVideoJobs.Sprites, null, job);

        foreach (var read in new[] { draft, reloaded })
        {
            var again = new DraftReader(FakeVideoJobs.Sprites, errors).Read(read);
            // The length stands in the form as frames.
            Assert.Equal(JsonSerializer.Serialize(Every with { Seconds = null }), JsonSerializer.Serialize(again));
        }

        Assert.Empty(errors);
    }

    [Fact]
    public void What_has_no_field_is_said_and_can_be_left_out()
    {
        Jobs.Add(VideoStatus.Completed, Every with { Input = null, RemixedFrom = null });
        var page = Open();
        Press(page, "Use these settings");
        Assert.Contains("“red” put after the prompt, 12.5 frames per second, text and history reused for 2 steps, guidance computed in one of 3 steps, second-order solver", string.Concat(page.FindAll(".hint").Select(hint => hint.TextContent)), StringComparison.Ordinal);
        page.FindAll("button").Last(button => button.TextContent == "Leave these out").Click();
        page.Find("form").Submit();
        var request = Assert.Single(Jobs.Requests);
        Assert.Equal((null, null, null), (request.PromptSuffix, request.ReusePrefix, request.Solver));
    }
}
