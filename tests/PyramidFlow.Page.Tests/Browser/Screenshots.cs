using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

/// <summary>Makes the pictures of the documentation, when a folder for them is named.</summary>
public sealed class Screenshots(Chromium chromium) : BrowserTest(chromium)
{
    private static readonly ViewportSize Desk = new() { Width = 1360, Height = 1080 };

    private static readonly string[] Prompts =
    [
        "a small cyan triangle moving down on a maroon background",
        "a large red square standing still on a gray background",
        "a large green circle moving left on a brown background",
        "a large yellow square moving up on a teal background",
        "a large white star growing on a navy background",
    ];

    [Fact]
    public async Task Pictures_of_the_documentation_are_made()
    {
        var folder = Environment.GetEnvironmentVariable("PYRAMIDFLOW_SCREENSHOTS");
        Assert.SkipWhen(folder is null, "PYRAMIDFLOW_SCREENSHOTS names no folder");
        var page = await OpenAsync(new() { ViewportSize = Desk, ColorScheme = ColorScheme.Light });
        foreach (var (i, prompt) in Prompts.Index())
        {
            await GenerateAsync(page, prompt, units: 3, steps: "10");
            await Expect(page.Locator(".card")).ToHaveCountAsync(i + 1);
        }

        await GenerateAsync(page, "a large orange circle moving right on a navy background", units: 6, steps: "10");
        await page.GetByText("Steps, guidance, what to avoid").ClickAsync();
        await Expect(page.Locator("#stage")).ToContainTextAsync("part 3 of 7");
        await page.GetByLabel("Prompt", new() { Exact = true }).FillAsync(Circle);
        await page.GetByRole(AriaRole.Button, new() { Name = "Generate" }).ClickAsync();
        await Expect(page.GetByRole(AriaRole.Region, new() { Name = "Queue" })).ToBeVisibleAsync();
        await ShotAsync(page, "page-running");
        await Expect(page.Locator(".card")).ToHaveCountAsync(Prompts.Length + 2);
        await FinishedAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "Standard" }).ClickAsync();
        await ShotAsync(page, "page-light");
        page = await OpenAsync(new() { ViewportSize = Desk, ColorScheme = ColorScheme.Dark });
        await page.Locator(".card").Nth(2).ClickAsync();
        await FinishedAsync(page);
        await ShotAsync(page, "page-dark");
        page = await OpenAsync(new() { ViewportSize = new() { Width = 390, Height = 844 }, DeviceScaleFactor = 2, IsMobile = true, HasTouch = true, ColorScheme = ColorScheme.Light });
        await FinishedAsync(page);
        await ShotAsync(page, "page-phone", "document.querySelector('#stage').scrollIntoView()");

        async Task ShotAsync(IPage from, string name, string scroll = "scrollTo(0, 0)")
        {
            await from.EvaluateAsync(scroll);
            await from.ScreenshotAsync(new() { Path = Path.Combine(folder!, name + ".png") });
        }
    }
}
