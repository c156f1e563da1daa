using Bunit;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Page.Tests.Components;

public sealed class FormTests : PageContext
{
    private const string Circle = "a small red circle moving right on a black background";

    [Fact]
    public void A_request_holds_what_the_form_says()
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        page.Find("#seconds").Input("2");
        page.Find("#steps").Change("4, 5, 6");
        page.Find("#video_steps").Change("3");
        page.Find("#guidance_scale").Change("6.5");
        page.Find("#negative_prompt").Change("blur");
        page.Find(".check input").Change(true);
        page.Find("#seed").Change("42");
        page.Find("form").Submit();

        var request = Assert.Single(Jobs.Requests);
        Assert.Equal((Circle, "blur", 42ul, 17), (request.Prompt, request.NegativePrompt, request.Seed, request.Frames));
        Assert.Equal([4, 5, 6], request.Steps!);
        Assert.Equal([3], request.VideoSteps!);
        Assert.Equal((6.5, 5.0), (request.Guidance, request.VideoGuidance));
        FocusIs(page, "stage");
    }

    [Fact]
    public void Control_and_enter_in_the_prompt_generate()
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        page.Find("#prompt").KeyDown(new Microsoft.AspNetCore.Components.Web.KeyboardEventArgs { Key = "Enter" });
        Assert.Empty(Jobs.Requests);
        page.Find("#prompt").KeyDown(new Microsoft.AspNetCore.Components.Web.KeyboardEventArgs { Key = "Enter", CtrlKey = true });
        Assert.Single(Jobs.Requests);
    }

    [Fact]
    public void An_empty_prompt_is_named_and_gets_the_focus()
    {
        var page = Open();
        page.Find("form").Submit();
        Assert.Equal("Say what is to be seen.", ErrorOf(page, "prompt"));
        FocusIs(page, "prompt");
        Assert.Empty(Jobs.Requests);
    }

    [Theory]
    [InlineData("steps", "", "“” cannot be taken: use a whole number from 1, one for each stage, such as 20,20,20.")]
    [InlineData("video_steps", "many", "“many” cannot be taken: use a whole number from 1, one for each stage, such as 20,20,20.")]
    [InlineData("guidance_scale", "7,5", "“7,5” cannot be taken: write 7.5 with a decimal point, and thousands without a separator.")]
    [InlineData("video_guidance_scale", "1,000", "“1,000” cannot be taken: write 1.000 with a decimal point, and thousands without a separator.")]
    [InlineData("video_steps", "2.5", "“2.5” cannot be taken: use a whole number from 1, one for each stage, such as 20,20,20.")]
    [InlineData("guidance_scale", "-1", "“-1” cannot be taken: use 0 (off) or a positive number.")]
    public void A_wrong_value_in_the_folded_part_opens_it(string field, string value, string sentence)
    {
        var page = Open();
        Assert.False(page.Find("details").HasAttribute("open"));
        page.Find("#prompt").Input(Circle);
        page.Find($"#{field}").Change(value);
        page.Find("form").Submit();
        Assert.Equal(sentence, ErrorOf(page, field));
        Assert.True(page.Find("details").HasAttribute("open"));
    }

    [Theory]
    [InlineData("width", "100", "The width 100 is not a multiple of 64: use 64 or 128.")]
    [InlineData("height", "100", "The height 100 is not a multiple of 64: use 64 or 128.")]
    [InlineData("width", "wide", "The width is a number of pixels: use a multiple of 64, such as 128.")]
    [InlineData("height", "64000000", "The height 64000000 is too large: use a multiple of 64, such as 128.")]
    public void A_wrong_side_is_answered_with_one_that_works(string side, string value, string sentence)
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        page.Find("#size").Change("own");
        page.Find($"#{side}").Change(value);
        page.Find("form").Submit();
        Assert.Equal(sentence, ErrorOf(page, side));
        Assert.Single(page.FindAll(".error"));
        FocusIs(page, side);
    }

    [Fact]
    public void Two_wrong_sides_are_both_named()
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        page.Find("#size").Change("own");
        page.Find("#width").Change("100");
        page.Find("#height").Change("1");
        page.Find("form").Submit();
        Assert.Equal("The width 100 is not a multiple of 64: use 64 or 128.", ErrorOf(page, "width"));
        Assert.Equal("The height 1 is not a multiple of 64: use 64.", ErrorOf(page, "height"));
        FocusIs(page, "width");
    }

    [Fact]
    public void A_picture_of_another_shape_is_said_to_be_cut_until_its_shape_is_taken()
    {
        JSInterop.Setup<int[]?>("pyramidflow.showFile", _ => true).SetResult([1200, 400]);
        var page = Open();
        page.FindComponent<Microsoft.AspNetCore.Components.Forms.InputFile>().UploadFiles(InputFileContent.CreateFromBinary([1, 2, 3], "photo.png", contentType: "image/png"));
        page.WaitForAssertion(() => Assert.Contains("1200 × 400 pixels: about 67% of its width is cut off to fill 128 × 128", page.Find(".cut").TextContent, StringComparison.Ordinal));
        Press(page, "Use 192 × 64");
        Assert.Empty(page.FindAll(".cut"));
        page.Find("form").Submit();
        Assert.Equal((192, 64), (Assert.Single(Jobs.Requests).Width, Jobs.Requests[0].Height));
    }

    [Fact]
    public void What_is_said_of_a_picture_goes_with_it()
    {
        Jobs.Add(VideoStatus.Completed);
        JSInterop.Setup<int[]?>("pyramidflow.showFile", _ => true).SetResult([1200, 400]);
        var page = Open();
        page.FindComponent<Microsoft.AspNetCore.Components.Forms.InputFile>().UploadFiles(InputFileContent.CreateFromBinary([1, 2, 3], "photo.png", contentType: "image/png"));
        page.WaitForAssertion(() => Assert.NotEmpty(page.FindAll(".cut")));
        Press(page, "Extend");
        Assert.Empty(page.FindAll(".cut"));
    }

    [Fact]
    public void A_single_picture_is_offered_only_where_it_can_be_made()
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        Press(page, "Still");
        page.FindAll("input[name=mode]")[1].Change(true);
        Assert.DoesNotContain(page.FindAll(".chip"), chip => chip.TextContent == "Still");
        Assert.Equal(("1", "1"), (page.Find("#seconds").GetAttribute("min"), page.Find("#seconds").GetAttribute("value")));
        page.FindAll("input[name=mode]")[0].Change(true);
        page.Find("form").Submit();
        Assert.Equal(1, Assert.Single(Jobs.Requests).Frames);
    }

    [Fact]
    public void What_the_server_refuses_stands_beside_the_field_it_names()
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        Jobs.Fault = ServiceFault.FramesBeyondLimit("seconds", 10000, 1441);
        page.Find("form").Submit();
        Assert.Equal("10000 frames are more than this service makes at once: ask for at most 1441.", ErrorOf(page, "seconds"));

        Jobs.Fault = ServiceFault.TooManyActive(500);
        page.Find("form").Submit();
        Assert.Equal("500 of your videos wait or are being made, and no more are allowed: wait for one to end, or cancel one.", page.Find("#form-error").TextContent);
    }

    [Fact]
    public void A_preset_sets_length_and_steps()
    {
        var page = Open();
        Assert.Equal("true", Button(page, "Standard").GetAttribute("aria-pressed"));
        Press(page, "Sketch");
        Assert.Equal(("true", "false"), (Button(page, "Sketch").GetAttribute("aria-pressed"), Button(page, "Standard").GetAttribute("aria-pressed")));
        Assert.Equal(("3", "4"), (page.Find("#seconds").GetAttribute("value"), page.Find("#steps").GetAttribute("value")));
        Press(page, "Still");
        Assert.Contains("a still picture", page.Find("output").TextContent, StringComparison.Ordinal);
    }

    [Fact]
    public void The_last_seed_can_be_used_again()
    {
        var page = Open();
        page.Find("#prompt").Input(Circle);
        page.Find("form").Submit();
        Assert.Null(Jobs.Requests[0].Seed);
        Press(page, "Use 1001 again");
        page.Find("form").Submit();
        Assert.Equal(1001ul, Jobs.Requests[1].Seed);
    }

    [Fact]
    public void A_picture_is_sent_with_the_request()
    {
        var page = Open();
        page.FindComponent<Microsoft.AspNetCore.Components.Forms.InputFile>().UploadFiles(InputFileContent.CreateFromBinary([1, 2, 3], "photo.png", contentType: "image/png"));
        page.Find("form").Submit();
        Assert.Equal(new VideoInput(VideoInputKind.Image), Assert.Single(Jobs.Requests).Input);
        Assert.Equal([3], Jobs.Uploads);
    }

    [Fact]
    public void A_file_that_is_no_picture_or_too_large_is_refused_before_it_is_sent()
    {
        var page = Open();
        page.FindAll("input[name=mode]")[1].Change(true);
        var input = page.FindComponent<Microsoft.AspNetCore.Components.Forms.InputFile>();
        input.UploadFiles(InputFileContent.CreateFromText("x", "notes.txt", contentType: "text/plain"));
        Assert.Equal("“notes.txt” is neither a picture nor a video: use such as PNG, JPEG or MP4.", ErrorOf(page, "input_reference"));
        input.UploadFiles(InputFileContent.CreateFromBinary(new byte[(1 << 20) + 1], "photo.png", contentType: "image/png"));
        Assert.Equal("“photo.png” is larger than 1 MB: make it smaller.", ErrorOf(page, "input_reference"));
    }

    [Fact]
    public void What_stands_in_the_form_is_kept_by_the_browser()
    {
        var before = Jobs.Add(VideoStatus.Completed);
        var page = Open();
        page.Find("#prompt").Input(Circle);
        page.Find("#seconds").Input("2");
        page.Find("#guidance_scale").Change("6.5");
        page.WaitForAssertion(() => Assert.Contains("6.5", Kept(), StringComparison.Ordinal));
        Press(page, "Begin with its last frame");
        page.WaitForAssertion(() => Assert.Contains(before.Id, Kept(), StringComparison.Ordinal));

        var draft = KeptDraft.FromJson(Kept())!;
        Assert.Equal((Circle, "6.5", 2, DraftMode.Image, before.Id), (draft.Prompt, draft.Guidance, draft.Units, draft.Mode, draft.From));

        string Kept() => (string)JSInterop.Invocations["pyramidflow.keep"].Last().Arguments[0]!;
    }

    [Fact]
    public void What_the_browser_kept_stands_in_the_form_again()
    {
        var before = Jobs.Add(VideoStatus.Completed);
        var draft = KeptDraft.Of(new Draft(), FakeVideoJobs.Sprites) with
        {
            Prompt = Circle,
            Mode = DraftMode.Image,
            Units = 3,
            Width = "128",
            Height = "128",
            Steps = "4",
            VideoSteps = "3",
            Guidance = "6.5",
            VideoGuidance = "2",
            Seed = "42",
            KeepsSeed = true,
            From = before.Id,
        };
        JSInterop.Setup<string?>("pyramidflow.kept").SetResult(draft.ToJson());
        var page = Open();
        page.WaitForAssertion(() => Assert.Equal(Circle, page.Find("#prompt").GetAttribute("value")));
        Assert.Equal(("4", "6.5", "42"), (page.Find("#steps").GetAttribute("value"), page.Find("#guidance_scale").GetAttribute("value"), page.Find("#seed").GetAttribute("value")));
        page.Find("form").Submit();
        var request = Assert.Single(Jobs.Requests);
        Assert.Equal((25, 42ul, new VideoInput(VideoInputKind.Image, before.Id)), (request.Frames, request.Seed, request.Input));
    }

    [Theory]
    [InlineData("{")]
    [InlineData("[1]")]
    [InlineData("{\"Prompt\": null}")]
    [InlineData("{\"Units\": 1e99}")]
    [InlineData("{\"Prompt\": \"\\ud83d\"}")]
    public void What_cannot_be_read_of_a_kept_form_is_forgotten(string kept)
    {
        JSInterop.Setup<string?>("pyramidflow.kept").SetResult(kept);
        var page = Open();
        Assert.Equal("10", page.Find("#steps").GetAttribute("value"));
    }

    [Fact]
    public void A_kept_form_that_holds_only_what_was_written_while_the_server_was_away_leaves_the_rest_as_it_is()
    {
        JSInterop.Setup<string?>("pyramidflow.kept").SetResult($$"""{"Prompt":"{{Circle}}","Units":1}""");
        var page = Open();
        page.WaitForAssertion(() => Assert.Equal(Circle, page.Find("#prompt").GetAttribute("value")));
        Assert.Equal(("1", "10"), (page.Find("#seconds").GetAttribute("value"), page.Find("#steps").GetAttribute("value")));
        page.Find("form").Submit();
        Assert.Equal(9, Assert.Single(Jobs.Requests).Frames);
    }

    [Fact]
    public void A_kept_form_with_a_null_among_its_prompts_is_forgotten()
    {
        var draft = KeptDraft.Of(new Draft(), FakeVideoJobs.Sprites) with { Steps = "4", Schedule = [new(1, "later")] };
        JSInterop.Setup<string?>("pyramidflow.kept").SetResult(draft.ToJson().Replace("{\"FromSeconds\":1,\"Prompt\":\"later\"}", "null", StringComparison.Ordinal));
        var page = Open();
        Assert.Equal("10", page.Find("#steps").GetAttribute("value"));
    }

    [Fact]
    public void A_kept_form_of_a_model_or_video_that_is_gone_keeps_its_prompt()
    {
        var draft = KeptDraft.Of(new Draft(), FakeVideoJobs.Sprites) with { Model = "another", Prompt = Circle, Steps = "4", From = "video_gone" };
        JSInterop.Setup<string?>("pyramidflow.kept").SetResult(draft.ToJson());
        var page = Open();
        page.WaitForAssertion(() => Assert.Equal(Circle, page.Find("#prompt").GetAttribute("value")));
        Assert.Equal("10", page.Find("#steps").GetAttribute("value"));
    }

    [Fact]
    public void Without_a_model_the_page_says_how_to_get_one()
    {
        Jobs.Models = [];
        Assert.Contains("pyramidflow models download", Open().Find("form").TextContent, StringComparison.Ordinal);
    }
}
