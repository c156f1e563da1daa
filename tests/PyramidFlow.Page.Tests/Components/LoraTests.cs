using Bunit;
using PyramidFlow.Models.Lora;

namespace PyramidFlow.Page.Tests.Components;

/// <summary>LoRAs are chosen in the form, each with a weight.</summary>
public sealed class LoraTests : PageContext
{
    [Fact]
    public void LoRAs_of_the_model_are_chosen_weighed_and_taken_away()
    {
        Jobs.Loras = [new("panda", ["sprites"]), new("style", ["another", "sprites"]), new("wide", ["another"])];
        var page = Open();
        Assert.Equal(["Add one…", "panda", "style"], page.FindAll("#lora option").Select(option => option.TextContent));
        page.Find("#lora").Change("style");
        page.Find("#lora").Change("panda");
        Assert.Equal(["Add one…"], page.FindAll("#lora option").Select(option => option.TextContent));
        page.Find("[aria-label='Weight of style']").Change("0.5");
        Generate(page);
        Press(page, "Remove style");
        Generate(page);
        Press(page, "Remove panda");
        Generate(page);
        Assert.Equal<IEnumerable<LoraUse>?>([[new LoraUse("style", 0.5), new LoraUse("panda")], [new LoraUse("panda")], null], Jobs.Requests.Select(request => request.Loras));
    }

    [Fact]
    public void A_weight_that_cannot_be_read_is_told_there_and_stays_to_be_mended()
    {
        Jobs.Loras = [new("style", ["sprites"])];
        var page = Open();
        page.Find("#lora").Change("style");
        page.Find("[aria-label='Weight of style']").Change("0,8");
        Generate(page);
        Assert.Contains("write 0.8 with a decimal point", ErrorOf(page, "lora"), StringComparison.Ordinal);
        Assert.Empty(Jobs.Requests);
        Assert.Equal("0,8", page.Find("[aria-label='Weight of style']").GetAttribute("value"));
        page.Find("[aria-label='Weight of style']").Change("0.8");
        Generate(page);
        Assert.Equal([new LoraUse("style", 0.8)], Assert.Single(Jobs.Requests).Loras!);
    }

    [Fact]
    public void Without_LoRAs_there_is_nothing_to_choose_unless_a_video_had_one()
    {
        Jobs.Add(PyramidFlow.Server.Domain.VideoStatus.Completed, new() { Prompt = "a circle", Loras = [new("gone", 0.5)] });
        var page = Open();
        Assert.Empty(page.FindAll("#lora"));
        Assert.Contains("gone:0.5", page.Find(".facts").TextContent, StringComparison.Ordinal);
        Press(page, "Use these settings");
        Assert.Equal("0.5", page.Find("[aria-label='Weight of gone']").GetAttribute("value"));
        Press(page, "Remove gone");
        Assert.Empty(page.FindAll(".loras"));
    }

    private static void Generate(IRenderedComponent<Server.Page.Home> page)
    {
        page.Find("#prompt").Input("a small red circle");
        page.Find("form").Submit();
    }
}
