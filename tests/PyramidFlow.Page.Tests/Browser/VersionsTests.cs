using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class VersionsTests(Chromium chromium) : BrowserTest(chromium)
{
    [Theory]
    [InlineData(1280, 800, ColorScheme.Light)]
    [InlineData(390, 844, ColorScheme.Dark)]
    public async Task Versions_with_other_seeds_stand_side_by_side_and_play_in_step(int width, int height, ColorScheme colours)
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours });
        await page.GetByLabel("2", new() { Exact = true }).CheckAsync();
        await GenerateAsync(page);
        var versions = page.GetByRole(AriaRole.Region, new() { Name = "Versions with other seeds" });
        await Expect(versions.Locator("video")).ToHaveCountAsync(2);
        await FinishedAsync(page);

        // The second one begins where the first one is, wherever it was before.
        await page.WaitForFunctionAsync("() => [...document.querySelectorAll('.together video')].every(video => video.readyState > 0)");
        await versions.GetByRole(AriaRole.Slider).FillAsync("0.5");
        await page.WaitForFunctionAsync("() => [...document.querySelectorAll('.together video')].every(video => Math.abs(video.currentTime - video.duration / 2) < 0.05)");
        await versions.GetByRole(AriaRole.Button, new() { Name = "Play in step" }).ClickAsync();
        await page.WaitForFunctionAsync("() => [...document.querySelectorAll('.together video')].every(video => video.played.length > 0)");
        await versions.GetByRole(AriaRole.Button, new() { Name = "Play in step" }).ClickAsync();
        await page.WaitForFunctionAsync("() => [...document.querySelectorAll('.together video')].every(video => video.paused)");
        Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
        await AccessibleAsync(page);

        await page.GetByRole(AriaRole.Button, new() { Name = "More like this" }).ClickAsync();
        await Expect(versions.Locator("video")).ToHaveCountAsync(3);
    }
}
