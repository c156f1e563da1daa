using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class TimelinePageTests(Chromium chromium) : BrowserTest(chromium)
{
    private const string Square = "a large blue square resting on a gray background";

    [Theory]
    [InlineData(1280, 800, ColorScheme.Dark)]
    [InlineData(390, 844, ColorScheme.Light)]
    public async Task Later_prompts_are_written_and_moved_by_keyboard_and_come_back_from_the_file(int width, int height, ColorScheme colours)
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours, AcceptDownloads = true });
        await page.GetByLabel("Length").FillAsync("4");
        await page.GetByRole(AriaRole.Button, new() { Name = "Add a prompt that begins later" }).FocusAsync();
        await page.Keyboard.PressAsync("Enter");
        await Expect(page.GetByLabel("Prompt from 0.38 s", new() { Exact = true })).ToBeFocusedAsync();
        await page.Keyboard.TypeAsync(Square);
        await page.GetByRole(AriaRole.Slider, new() { Name = "Begin of" }).FocusAsync();
        await page.Keyboard.PressAsync("ArrowRight");
        await Expect(page.GetByLabel("Prompt from 0.71 s", new() { Exact = true })).ToHaveValueAsync(Square);
        await Expect(page.GetByRole(AriaRole.Slider, new() { Name = "Begin of" })).ToBeFocusedAsync();
        Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
        await AccessibleAsync(page);

        await ReloadAsync(page);
        await Expect(page.GetByLabel("Prompt from 0.71 s", new() { Exact = true })).ToHaveValueAsync(Square);
        await GenerateAsync(page, units: 4);
        await FinishedAsync(page);
        await Expect(page.Locator(".about")).ToContainTextAsync($"From 0.71 s on: “{Square}”");
        var download = await page.RunAndWaitForDownloadAsync(() => page.GetByRole(AriaRole.Link, new() { Name = "Download", Exact = true }).ClickAsync());
        var file = Convert.ToBase64String(await File.ReadAllBytesAsync(await download.PathAsync(), TestContext.Current.CancellationToken));

        // Another form, into which the file is dropped.
        await page.GetByRole(AriaRole.Button, new() { Name = "Remove the prompt from 0.71 s" }).ClickAsync();
        await page.GetByLabel("Prompt", new() { Exact = true }).FillAsync("something else");
        await page.EvaluateAsync(
            """
            bytes => {
              const files = new DataTransfer();
              files.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], 'mine.mp4', { type: 'video/mp4' }));
              document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true }));
            }
            """, file);
        await Expect(page.Locator(".picker")).ToContainTextAsync($"This file was made with PyramidFlow: “{Circle}”");
        await AccessibleAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "Use its settings" }).ClickAsync();
        await Expect(page.GetByLabel("Prompt", new() { Exact = true })).ToHaveValueAsync(Circle);
        await Expect(page.GetByLabel("Prompt from 0.71 s", new() { Exact = true })).ToHaveValueAsync(Square);
        await Expect(page.GetByLabel("Length")).ToHaveValueAsync("4");
        await Expect(page.GetByLabel("Keep the seed")).ToBeCheckedAsync();
        await Expect(page.GetByLabel("From text")).ToBeCheckedAsync();
    }
}
