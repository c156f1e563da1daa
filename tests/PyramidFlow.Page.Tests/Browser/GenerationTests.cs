using System.Diagnostics;
using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class GenerationTests(Chromium chromium) : BrowserTest(chromium)
{
    [Fact]
    public async Task A_video_is_seen_while_it_is_made_and_plays_when_it_is_done()
    {
        var page = await OpenAsync();
        await GenerateAsync(page);
        await FinishedAsync(page);                                  // the model is in memory now
        var start = Stopwatch.GetTimestamp();
        // Long enough that a slow browser finds it unfinished.
        await GenerateAsync(page, "a large white star growing on a navy background", units: 6, steps: "40");
        await page.WaitForFunctionAsync("() => document.querySelector('.preview')?.naturalWidth > 0");
        TestContext.Current.TestOutputHelper?.WriteLine($"first preview {Stopwatch.GetElapsedTime(start).TotalSeconds:F2} s after Generate");
        await Expect(page.Locator("#stage")).ToContainTextAsync("stage");
        await page.WaitForFunctionAsync("() => document.querySelector('video.live')?.played.length > 0");
        await FinishedAsync(page);
        Assert.Equal("128x128", await page.Locator("#stage video").EvaluateAsync<string>("video => `${video.videoWidth}x${video.videoHeight}`"));
        await page.WaitForFunctionAsync("() => document.querySelector('#stage video').played.length > 0");
        await Expect(page.Locator(".card")).ToHaveCountAsync(2);
    }

    [Fact]
    public async Task A_running_video_is_cancelled()
    {
        var page = await OpenAsync();
        await GenerateAsync(page, units: 24, steps: "200");
        await Expect(page.Locator("#stage")).ToContainTextAsync("step");
        await page.GetByRole(AriaRole.Button, new() { Name = "Cancel" }).ClickAsync();
        await Expect(page.Locator("#stage")).ToContainTextAsync("You cancelled it.");
        await Expect(page.Locator("#stage")).ToBeFocusedAsync();
    }

    [Fact]
    public async Task Two_wait_in_the_queue_and_a_reload_finds_them_where_they_are()
    {
        var page = await OpenAsync();
        await GenerateAsync(page, units: 24, steps: "200");
        await Expect(page.Locator("#stage progress")).ToBeVisibleAsync();
        await Expect(page.Locator("#stage")).ToContainTextAsync("step");
        await GenerateAsync(page, "a large green square resting on a gray background");
        var queue = page.GetByRole(AriaRole.Region, new() { Name = "Queue" });
        await Expect(queue).ToContainTextAsync("Next in the queue");

        await ReloadAsync(page);
        await Expect(queue).ToContainTextAsync("a large green square");
        await Expect(page.Locator("#stage")).ToContainTextAsync("step");
        await page.GetByRole(AriaRole.Button, new() { Name = "Cancel", Exact = true }).ClickAsync();
        await queue.GetByRole(AriaRole.Button, new() { Name = "Show" }).ClickAsync();
        await FinishedAsync(page);
    }

    [Fact]
    public async Task A_picture_is_chosen_dropped_or_pasted_and_becomes_a_video_whose_settings_are_used_again()
    {
        var page = await OpenAsync();
        var picture = await File.ReadAllBytesAsync(Path.Combine(AppContext.BaseDirectory, "Browser", "picture.png"), TestContext.Current.CancellationToken);
        await page.GetByLabel("From a picture").CheckAsync();
        await page.Locator("#input_reference").SetInputFilesAsync(new FilePayload { Name = "chosen.png", MimeType = "image/png", Buffer = picture });
        await ShownAsync("chosen.png");
        await GiveAsync("new DragEvent('drop', { dataTransfer: files, bubbles: true, cancelable: true })", "dropped.png");
        await page.GetByLabel("From text").CheckAsync();
        await GiveAsync("new ClipboardEvent('paste', { clipboardData: files, bubbles: true, cancelable: true })", "pasted.png");

        await GenerateAsync(page, "a red circle moving right");
        await FinishedAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "Use these settings" }).ClickAsync();
        await Expect(page.Locator(".drop")).ToContainTextAsync("The same as before");
        await page.WaitForFunctionAsync("() => document.querySelector('.drop img').naturalWidth === 128");
        await Expect(page.GetByLabel("Keep the seed")).ToBeCheckedAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Begin with its last frame" }).ClickAsync();
        await page.WaitForFunctionAsync("() => document.querySelector('.drop img').src.includes('last_frame') && document.querySelector('.drop img').naturalWidth === 128");
        await page.GetByRole(AriaRole.Button, new() { Name = "Generate" }).ClickAsync();
        await Expect(page.Locator(".card")).ToHaveCountAsync(2);

        async Task GiveAsync(string how, string name)
        {
            await page.EvaluateAsync(
                $$"""
                ([bytes, name]) => {
                  const files = new DataTransfer();
                  files.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name, { type: 'image/png' }));
                  document.body.dispatchEvent({{how}});
                }
                """,
                new[] { Convert.ToBase64String(picture), name });
            await ShownAsync(name);
        }

        async Task ShownAsync(string name)
        {
            await Expect(page.Locator(".drop")).ToContainTextAsync(name);
            await page.WaitForFunctionAsync("() => document.querySelector('.drop img')?.naturalWidth > 0");
        }
    }
}
