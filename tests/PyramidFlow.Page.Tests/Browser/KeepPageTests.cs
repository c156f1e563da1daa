using System.IO.Compression;
using System.Net;
using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class KeepPageTests(Chromium chromium) : BrowserTest(chromium)
{
    private const string Square = "a large green square resting on a gray background";

    [Theory]
    [InlineData(1280, 800, ColorScheme.Light)]
    [InlineData(390, 844, ColorScheme.Dark)]
    public async Task Videos_have_addresses_are_found_marked_compared_shared_and_deleted_together(int width, int height, ColorScheme colours)
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours, AcceptDownloads = true });
        await GenerateAsync(page);
        await FinishedAsync(page);
        var first = new Uri(page.Url).AbsolutePath;
        Assert.StartsWith("/videos/video_", first, StringComparison.Ordinal);
        await GenerateAsync(page, Square);
        await Expect(page.Locator(".card")).ToHaveCountAsync(2);
        await FinishedAsync(page);
        await Expect(page.Locator("#stage h2")).ToHaveTextAsync(Square);
        await page.GoBackAsync();
        await Expect(page.Locator("#stage h2")).ToHaveTextAsync(Circle);
        await ReloadAsync(page);
        await Expect(page.Locator("#stage h2")).ToHaveTextAsync(Circle);

        await page.Locator("#stage").GetByRole(AriaRole.Button, new() { Name = "Favourite" }).ClickAsync();
        await Expect(page.Locator(".card .star")).ToHaveCountAsync(1);
        await page.GetByLabel("Search prompts").FillAsync("SQUARE green");
        await page.GetByLabel("Search prompts").PressAsync("Enter");
        await Expect(page.Locator(".card .what")).ToHaveTextAsync([Square]);
        await page.Locator(".gallery").GetByRole(AriaRole.Button, new() { Name = "Favourites" }).ClickAsync();
        await Expect(page.Locator(".gallery")).ToContainTextAsync("No video was found.");
        await CheckAsync(page);
        await page.GetByLabel("Search prompts").FillAsync("");
        await page.GetByLabel("Search prompts").PressAsync("Enter");
        await Expect(page.Locator(".card .what")).ToHaveTextAsync([Circle]);
        await page.Locator(".gallery").GetByRole(AriaRole.Button, new() { Name = "Favourites" }).ClickAsync();

        await page.GetByRole(AriaRole.Button, new() { Name = "Share", Exact = true }).ClickAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Make a link" }).ClickAsync();
        var link = await page.GetByLabel("Link, for 7 days").InputValueAsync();
        await CheckAsync(page);
        var visitor = await BlankAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours });
        await visitor.GotoAsync(link);
        await Expect(visitor.GetByRole(AriaRole.Heading, new() { Name = Circle })).ToBeVisibleAsync();
        await visitor.WaitForFunctionAsync("() => document.querySelector('video').readyState > 0");
        await CheckAsync(visitor);

        await page.GetByRole(AriaRole.Button, new() { Name = "Select" }).ClickAsync();
        await page.Locator(".card").Nth(0).ClickAsync();
        await page.Locator(".card").Nth(1).ClickAsync();
        await CheckAsync(page);
        var download = await page.RunAndWaitForDownloadAsync(() => page.Locator(".selection").GetByRole(AriaRole.Link, new() { Name = "Download" }).ClickAsync());
        using (var archive = ZipFile.OpenRead(await download.PathAsync()))
            Assert.Equal(2, archive.Entries.Count(entry => entry.Length > 1000 && entry.Name.EndsWith(".mp4", StringComparison.Ordinal)));
        await page.GetByRole(AriaRole.Button, new() { Name = "Compare" }).ClickAsync();
        var compared = page.GetByRole(AriaRole.Region, new() { Name = "Compared videos" });
        await Expect(compared.Locator("video")).ToHaveCountAsync(2);
        await compared.GetByRole(AriaRole.Button, new() { Name = "Play in step" }).ClickAsync();
        await page.WaitForFunctionAsync("() => [...document.querySelectorAll('.together video')].every(video => video.played.length > 0)");
        await CheckAsync(page);
        await compared.GetByRole(AriaRole.Button, new() { Name = "Close" }).ClickAsync();
        await Expect(compared).ToHaveCountAsync(0);

        await page.Locator(".selection").GetByRole(AriaRole.Button, new() { Name = "Delete" }).ClickAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Delete 2 for good" }).ClickAsync();
        await Expect(page.Locator("#stage")).ToContainTextAsync("Nothing made yet");
        Assert.Equal(HttpStatusCode.NotFound, (await Server.Client.GetAsync(new Uri(link), TestContext.Current.CancellationToken)).StatusCode);

        async Task CheckAsync(IPage checkedPage)
        {
            Assert.InRange(await checkedPage.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
            await AccessibleAsync(checkedPage);
        }
    }
}
