using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class LivePageTests(Chromium chromium) : BrowserTest(chromium)
{
    [Theory]
    [InlineData(1280, 800, ColorScheme.Dark)]
    [InlineData(390, 844, ColorScheme.Light)]
    public async Task A_running_video_takes_another_prompt_and_is_stopped_and_kept(int width, int height, ColorScheme colours)
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours });
        await GenerateAsync(page, units: 24, steps: "200");
        var panel = page.GetByRole(AriaRole.Region, new() { Name = "Change it while it is made" });
        await panel.GetByLabel("Next prompt").FillAsync("a large blue square resting on a gray background");
        await panel.GetByRole(AriaRole.Button, new() { Name = "Take this prompt next" }).ClickAsync();
        await Expect(panel).ToContainTextAsync("From part 2 on: “a large blue square resting on a gray background”");
        await Expect(panel.GetByLabel("Next prompt")).ToBeFocusedAsync();
        await panel.GetByRole(AriaRole.Button, new() { Name = "Stop and keep" }).ClickAsync();
        await Expect(panel).ToContainTextAsync("It ends after part 1");
        Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
        await AccessibleAsync(page);
        await panel.GetByRole(AriaRole.Button, new() { Name = "Go on after all" }).ClickAsync();
        await Expect(panel.GetByRole(AriaRole.Button, new() { Name = "Stop and keep" })).ToBeVisibleAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Cancel", Exact = true }).ClickAsync();

        // Short parts, so that some follow the change.
        await GenerateAsync(page, units: 24, steps: "8");
        await panel.GetByLabel("Next prompt").FillAsync("a large green square resting on a gray background");
        await panel.GetByRole(AriaRole.Button, new() { Name = "Take this prompt next" }).ClickAsync();
        await Expect(panel).ToContainTextAsync("on: “a large green square");
        await page.WaitForTimeoutAsync(1500);
        await panel.GetByRole(AriaRole.Button, new() { Name = "Stop and keep" }).ClickAsync();
        await FinishedAsync(page);
        await Expect(page.Locator(".about")).ToContainTextAsync("s on: “a large green square");
    }
}
