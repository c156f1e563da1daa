using Bunit;
using PyramidFlow.Generation;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Page.Tests.Components;

public sealed class VideoTests : PageContext
{
    [Fact]
    public void An_empty_page_offers_prompts_to_begin_with()
    {
        var page = Open();
        Press(page, "a large white star growing on a navy background");
        Assert.Equal("a large white star growing on a navy background", page.Find("#prompt").GetAttribute("value"));
        FocusIs(page, "prompt");
    }

    [Fact]
    public void A_waiting_video_shows_its_place_and_the_time()
    {
        Jobs.Add(VideoStatus.Queued, change: job => job with { QueuePosition = 2, SecondsLeft = 40 });
        Assert.Contains("2nd in the queue, done in about 40 s", Open().Find("#stage").TextContent, StringComparison.Ordinal);
    }

    [Fact]
    public void A_video_that_nobody_makes_says_so_in_place_of_a_time()
    {
        Jobs.Add(VideoStatus.Queued, change: job => job with { HasNoWorker = true, SecondsLeft = 40 });
        Assert.Contains("Next in the queue: no worker for sprites is running, so it waits until one is started", Open().Find("#stage").TextContent, StringComparison.Ordinal);
    }

    [Fact]
    public void Progress_shows_part_stage_and_step_and_a_preview_that_changes()
    {
        var job = Jobs.Add(VideoStatus.Queued);
        var page = Open();
        Jobs.Move(job.Id, now => now with { Status = VideoStatus.InProgress, QueuePosition = null, SecondsLeft = 12, Progress = new VideoProgress(0.4, GenerationPhase.Denoising, 1, 7, 2, 3, 4, 6) { Preview = 1, ResumedFrom = 1 } });
        page.WaitForAssertion(() => Assert.Contains("40%, about 12 s left", page.Find("#stage").TextContent, StringComparison.Ordinal));
        Assert.Contains("part 2 of 7, stage 3 of 3, step 4 of 6", page.Find("#stage").TextContent, StringComparison.Ordinal);
        Assert.Contains("Goes on from part 2 of 7 after an interruption", page.Find("#stage").TextContent, StringComparison.Ordinal);
        Assert.Equal("0.400", page.Find("progress").GetAttribute("value"));
        var first = page.Find(".preview").GetAttribute("src");
        Jobs.Move(job.Id, now => now with { Progress = now.Progress! with { Preview = 2 } });
        page.WaitForAssertion(() => Assert.NotEqual(first, page.Find(".preview").GetAttribute("src")));
    }

    [Fact]
    public void A_video_is_played_from_its_first_frames_on()
    {
        var job = Jobs.Add(VideoStatus.InProgress, change: job => job with { Progress = new VideoProgress(0.2, GenerationPhase.Denoising) });
        var page = Open();
        Assert.Empty(JSInterop.Invocations["pyramidflow.playLive"]);
        Jobs.Move(job.Id, now => now with { Progress = now.Progress! with { LiveFrames = 9 } });
        page.WaitForAssertion(() => Assert.Equal($"v1/videos/{job.Id}/stream", Assert.Single(JSInterop.Invocations["pyramidflow.playLive"]).Arguments[1]));
    }

    [Fact]
    public void Videos_that_are_not_on_the_stage_wait_in_the_queue_and_can_be_cancelled()
    {
        Jobs.Add(VideoStatus.InProgress);
        Jobs.Add(VideoStatus.Queued);
        var page = Open();
        Assert.Contains("prompt 1", page.Find("#stage").TextContent, StringComparison.Ordinal);
        Assert.Equal("prompt 2", page.Find(".queue .what").TextContent);
        Press(page, "Cancel prompt 2");
        Assert.Empty(page.FindAll(".queue"));
        Assert.Equal("Cancelled", page.Find(".unmade .hint").TextContent);
    }

    [Fact]
    public void What_was_not_made_stands_beside_the_gallery_and_can_be_deleted_together()
    {
        var made = Jobs.Add(VideoStatus.Completed);
        var failed = Jobs.Add(VideoStatus.Failed);
        var cancelled = Jobs.Add(VideoStatus.Failed, change: job => job with { Error = new VideoError(VideoError.Cancelled, "you cancelled it") });
        var page = Open();
        Assert.Single(page.FindAll(".card"));
        Assert.Equal(["Cancelled", "Failed"], page.FindAll(".unmade .hint").Select(state => state.TextContent));
        Press(page, "Delete all of these");
        Press(page, "Keep them");
        Assert.Empty(Jobs.Deleted);
        Press(page, "Delete all of these");
        Press(page, "Delete 2 for good");
        Assert.Equal([cancelled.Id, failed.Id], Jobs.Deleted);
        Assert.Empty(page.FindAll(".unmade"));
        Assert.NotNull(Studio.Library.Find(made.Id));
    }

    [Fact]
    public void A_long_prompt_is_shown_whole_when_it_is_asked_for()
    {
        Jobs.Add(VideoStatus.Completed, new VideoRequest { Prompt = string.Join(' ', Enumerable.Repeat("a small red circle", 20)) });
        var page = Open();
        Assert.Equal("clamp", page.Find("#stage h2").ClassName);
        Press(page, "The whole prompt");
        Assert.True(string.IsNullOrEmpty(page.Find("#stage h2").ClassName));
        Press(page, "Less of the prompt");
        Assert.Equal("clamp", page.Find("#stage h2").ClassName);
    }

    [Fact]
    public void What_is_being_made_stays_on_the_stage_when_another_is_asked_for()
    {
        Jobs.Add(VideoStatus.InProgress);
        var page = Open();
        page.Find("#prompt").Input("another");
        page.Find("form").Submit();
        Assert.Contains("prompt 1", page.Find("#stage").TextContent, StringComparison.Ordinal);
        Assert.Equal("another", page.Find(".queue .what").TextContent);
    }

    [Fact]
    public void Settings_of_a_video_fill_the_form_with_its_seed()
    {
        Jobs.Add(VideoStatus.Completed, new VideoRequest { Prompt = "a red star" });
        var page = Open();
        Press(page, "Use these settings");
        page.Find("form").Submit();
        var request = Assert.Single(Jobs.Requests);
        Assert.Equal(("a red star", 1001ul, 49, 128), (request.Prompt, request.Seed, request.Frames, request.Width));
    }

    [Fact]
    public void The_same_upload_is_used_again_with_the_settings()
    {
        var job = Jobs.Add(VideoStatus.Completed, new VideoRequest { Prompt = "a red star", Input = new VideoInput(VideoInputKind.Image) });
        var page = Open();
        Press(page, "Use these settings");
        page.Find("form").Submit();
        Assert.Equal((job.Id, new VideoInput(VideoInputKind.Image)), (Jobs.Requests[0].RemixedFrom, Jobs.Requests[0].Input));
    }

    [Theory]
    [InlineData("Begin with its last frame", VideoInputKind.Image, 49)]
    [InlineData("Extend", VideoInputKind.Video, 48)]
    public void A_video_can_be_gone_on_from(string button, VideoInputKind kind, int frames)
    {
        var job = Jobs.Add(VideoStatus.Completed);
        var page = Open();
        Press(page, button);
        page.Find("form").Submit();
        Assert.Equal((new VideoInput(kind, job.Id), frames), (Jobs.Requests[0].Input, Jobs.Requests[0].Frames));
    }

    [Fact]
    public void A_single_frame_is_shown_and_saved_as_a_picture()
    {
        Jobs.Add(VideoStatus.Completed, change: job => job with { Result = new VideoResult(1, 1000, 1, []) });
        var page = Open();
        Assert.Empty(page.FindAll("#stage video"));
        Assert.EndsWith("variant=last_frame", page.Find("#stage .frame img").GetAttribute("src"), StringComparison.Ordinal);
        Assert.Equal("prompt-1-1001.png", page.Find("#stage a").GetAttribute("download"));
    }

    [Fact]
    public void A_deleted_video_can_be_taken_back()
    {
        Jobs.Add(VideoStatus.Completed);
        var page = Open();
        Press(page, "Delete");
        Assert.Empty(page.FindAll(".card"));
        FocusIs(page, "undo");
        Press(page, "Undo");
        Assert.Single(page.FindAll(".card"));
        Assert.Empty(Jobs.Deleted);
    }

    [Fact]
    public async Task A_deleted_video_is_gone_for_good_when_the_page_is_left()
    {
        var job = Jobs.Add(VideoStatus.Completed);
        Press(Open(), "Delete");
        Assert.Empty(Jobs.Deleted);
        var studio = Studio;
        await DisposeComponentsAsync();
        await studio.DisposeAsync();
        Assert.Equal([job.Id], Jobs.Deleted);
    }

    [Fact]
    public void A_failed_video_says_why()
    {
        Jobs.Add(VideoStatus.Failed, change: job => job with { Error = new VideoError(VideoError.Storage, "the disk is full") });
        Assert.Contains("It could not be made: The disk is full.", Open().Find("#stage").TextContent, StringComparison.Ordinal);
    }

    [Fact]
    public void States_are_said_aloud_but_not_each_step()
    {
        var job = Jobs.Add(VideoStatus.Queued);
        var page = Open();
        foreach (var fraction in new[] { 0.01, 0.05, 0.3, 0.31 })
            Jobs.Move(job.Id, now => now with { Status = VideoStatus.InProgress, QueuePosition = null, Progress = new VideoProgress(fraction, GenerationPhase.Denoising) });
        page.WaitForAssertion(() => Assert.Contains("31%", page.Find("#stage").TextContent, StringComparison.Ordinal));
        Assert.Equal("30%: prompt 1", page.Find("[role=status]").TextContent);
        Jobs.Move(job.Id, now => now with { Status = VideoStatus.Completed });
        page.WaitForAssertion(() => Assert.Equal("Done: prompt 1", page.Find("[role=status]").TextContent));
    }

    [Fact]
    public void Older_videos_come_when_they_are_asked_for()
    {
        for (var i = 0; i < 60; i++)
            Jobs.Add(VideoStatus.Completed);
        var page = Open();
        Assert.Equal(48, page.FindAll(".card").Count);
        Press(page, "Show older ones");
        Assert.Equal(60, page.FindAll(".card").Count);
        Assert.DoesNotContain(page.FindAll("button"), button => button.TextContent == "Show older ones");
    }

    [Fact]
    public void A_queue_that_cannot_be_reached_is_said()
    {
        Jobs.Fault = ServiceFault.QueueUnavailable(new TimeoutException());
        Assert.Contains("The queue cannot be reached just now.", Open().Find("[role=alert]").TextContent, StringComparison.Ordinal);
    }
}
