using System.Globalization;
using System.Text.RegularExpressions;
using Microsoft.Playwright;
using PyramidFlow.Server.Tests;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class LivePageTests(Chromium chromium) : BrowserTest(chromium)
{
    private protected override Task<TestServer> StartAsync() => TestServer.StartAsync(options => options with { Limits = options.Limits with { Steps = 900 } });

    [Theory]
    [InlineData(1280, 800, ColorScheme.Dark)]
    [InlineData(390, 844, ColorScheme.Light)]
    public async Task A_running_video_takes_another_prompt_and_is_stopped_and_kept(int width, int height, ColorScheme colours)
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours });
        // Parts of many steps, so that the first is still being made when the last change of it is made.
        await GenerateAsync(page, units: 24, steps: "900");
        var panel = page.GetByRole(AriaRole.Region, new() { Name = "Change it while it is made" });
        await panel.GetByLabel("Next prompt").FillAsync("a large blue square resting on a gray background");
        await panel.GetByRole(AriaRole.Button, new() { Name = "Take this prompt next" }).ClickAsync();
        await Expect(panel).ToContainTextAsync("From part 2 on: “a large blue square resting on a gray background”");
        await Expect(panel.GetByLabel("Next prompt")).ToBeFocusedAsync();
        await panel.GetByRole(AriaRole.Button, new() { Name = "Stop and keep" }).ClickAsync();
        await Expect(panel).ToContainTextAsync("It ends after part 1");
        await panel.GetByRole(AriaRole.Button, new() { Name = "Go on after all" }).ClickAsync();
        await Expect(panel.GetByRole(AriaRole.Button, new() { Name = "Stop and keep" })).ToBeVisibleAsync();
        Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
        await AccessibleAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "Cancel", Exact = true }).ClickAsync();

        await GenerateAsync(page, units: 24, steps: "40");
        await panel.GetByLabel("Next prompt").FillAsync("a large green square resting on a gray background");
        await panel.GetByRole(AriaRole.Button, new() { Name = "Take this prompt next" }).ClickAsync();
        await Expect(panel).ToContainTextAsync("on: “a large green square");
        var from = int.Parse(Regex.Match(await panel.InnerTextAsync(), @"From part (\d+) on: “a large green").Groups[1].Value, CultureInfo.InvariantCulture);
        await Expect(page.Locator(".units li.done").Nth(from - 1)).ToBeVisibleAsync();
        await panel.GetByRole(AriaRole.Button, new() { Name = "Stop and keep" }).ClickAsync();
        await FinishedAsync(page);
        await Expect(page.Locator(".about")).ToContainTextAsync("s on: “a large green square");
    }
}
