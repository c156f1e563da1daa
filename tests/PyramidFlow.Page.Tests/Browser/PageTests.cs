using Microsoft.Playwright;
using PyramidFlow.Server.Tests;
using PyramidFlow.Testing;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class PageTests(Chromium chromium) : BrowserTest(chromium)
{
    private readonly TemporaryFolder data = new();

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        data.Dispose();
    }

    [Fact]
    public async Task Videos_are_there_after_the_server_has_restarted_and_can_be_deleted_or_taken_back()
    {
        var page = await OpenAsync();
        await GenerateAsync(page);
        await FinishedAsync(page);
        await page.GotoAsync("about:blank");
        await RestartAsync();

        page = await OpenAsync();
        await page.WaitForFunctionAsync("() => document.querySelector('.card img')?.naturalWidth > 0");
        await FinishedAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "Delete", Exact = true }).ClickAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Undo" })).ToBeFocusedAsync();
        await page.Keyboard.PressAsync("Enter");
        await FinishedAsync(page);
        await page.GetByRole(AriaRole.Button, new() { Name = "Delete", Exact = true }).ClickAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Dismiss" }).ClickAsync();
        await Expect(page.Locator("#stage")).ToContainTextAsync("Nothing made yet");
        Assert.Equal(0, (await Server.GetAsync("/v1/videos")).GetProperty("data").GetArrayLength());
    }

    [Fact]
    public async Task The_keyboard_alone_is_enough()
    {
        var page = await OpenAsync();
        await TabToAsync("document.activeElement.id === 'prompt'");
        await page.Keyboard.TypeAsync(Circle);
        await TabToAsync("document.activeElement.textContent === 'Sketch'");
        await page.Keyboard.PressAsync("Space");
        await TabToAsync("document.activeElement.id === 'seconds'");
        await page.Keyboard.PressAsync("Home");
        await TabToAsync("document.activeElement.textContent === 'Generate'");
        await page.Keyboard.PressAsync("Enter");
        await FinishedAsync(page);
        await TabToAsync("document.activeElement.textContent === 'Use these settings'");
        await page.Keyboard.PressAsync("Enter");
        await Expect(page.Locator("#prompt")).ToBeFocusedAsync();

        async Task TabToAsync(string condition)
        {
            for (var i = 0; i < 40 && !await page.EvaluateAsync<bool>(condition); i++)
                await page.Keyboard.PressAsync("Tab");
            Assert.True(await page.EvaluateAsync<bool>(condition), $"no Tab leads to where {condition}");
        }
    }

    [Theory]
    [InlineData(1280, ColorScheme.Light)]
    [InlineData(1280, ColorScheme.Dark)]
    [InlineData(360, ColorScheme.Light)]
    public async Task Every_state_of_the_page_is_accessible_and_fits_its_width(int width, ColorScheme colours)
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = width, Height = 800 }, ColorScheme = colours, ReducedMotion = ReducedMotion.Reduce });
        await CheckAsync();
        await page.GetByText("Steps, guidance, what to avoid").ClickAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Generate" })).ToBeInViewportAsync(new() { Ratio = 1 });
        await page.GetByLabel("From a picture").CheckAsync();
        await page.GetByLabel("Steps, motion").FillAsync("many");
        await page.GetByRole(AriaRole.Button, new() { Name = "Generate" }).ClickAsync();
        await Expect(page.Locator("#input_reference-error")).ToBeVisibleAsync();
        await CheckAsync();

        await page.GetByLabel("From text").CheckAsync();
        await GenerateAsync(page, units: 24, steps: "200");
        await Expect(page.Locator("#stage")).ToContainTextAsync("step");
        await GenerateAsync(page, "a large green square resting on a gray background, which stays where it is from the first frame to the last one");
        await Expect(page.GetByRole(AriaRole.Region, new() { Name = "Queue" })).ToBeVisibleAsync();
        await CheckAsync();

        await page.GetByRole(AriaRole.Button, new() { Name = "Cancel", Exact = true }).ClickAsync();
        await Expect(page.Locator("#stage")).ToContainTextAsync("You cancelled it.");
        await page.GetByText("Cancelled or failed").ClickAsync();
        await Expect(page.Locator(".unmade li")).ToHaveCountAsync(1);
        await CheckAsync();
        await page.Locator(".card").First.ClickAsync();
        await FinishedAsync(page);
        // Less motion is wished for: nothing plays by itself.
        Assert.True(await page.Locator("#stage video").EvaluateAsync<bool>("video => video.paused && video.played.length === 0"));
        await page.GetByRole(AriaRole.Button, new() { Name = "Delete", Exact = true }).ClickAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Undo" })).ToBeInViewportAsync(new() { Ratio = 1 });
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Dismiss" })).ToBeInViewportAsync(new() { Ratio = 1 });
        await CheckAsync();

        async Task CheckAsync()
        {
            Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
            await AccessibleAsync(page);
        }
    }

    [Fact]
    public async Task What_stands_in_the_form_survives_a_reload()
    {
        var page = await OpenAsync();
        await page.GetByLabel("Prompt", new() { Exact = true }).FillAsync(Circle);
        await page.GetByLabel("Length").FillAsync("3");
        await page.GetByText("Steps, guidance, what to avoid").ClickAsync();
        await page.GetByLabel("Guidance, motion").FillAsync("2.5");
        await page.GetByLabel("Keep the seed").CheckAsync();
        await page.GetByLabel("Seed", new() { Exact = true }).FillAsync("42");
        await page.GetByLabel("Seed", new() { Exact = true }).PressAsync("Tab");
        await page.WaitForFunctionAsync("() => localStorage.getItem('form')?.includes('\"42\"')");

        await ReloadAsync(page);
        await Expect(page.GetByLabel("Prompt", new() { Exact = true })).ToHaveValueAsync(Circle);
        await Expect(page.GetByLabel("Length")).ToHaveValueAsync("3");
        await Expect(page.GetByLabel("Guidance, motion")).ToHaveValueAsync("2.5");
        await Expect(page.GetByLabel("Seed", new() { Exact = true })).ToHaveValueAsync("42");
    }

    [Fact]
    public async Task What_is_written_while_the_server_is_away_is_there_when_it_is_back()
    {
        var page = await OpenAsync();
        IsAway = true;
        var address = Server.Client.BaseAddress!;
        await Server.DisposeAsync();
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("What you write is kept.");
        await page.GetByLabel("Prompt", new() { Exact = true }).FillAsync(Circle);
        await page.GetByLabel("Length").FillAsync("1");
        await page.GetByRole(AriaRole.Button, new() { Name = "Generate" }).ClickAsync();
        await Expect(page.GetByLabel("Prompt", new() { Exact = true })).ToHaveValueAsync(Circle);

        // The page loads itself anew; what was written before stays written.
        Server = await TestServer.StartAsync(options => options with { Port = address.Port }, data.Path);
        await Expect(page.GetByRole(AriaRole.Alert)).ToBeHiddenAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Generate" })).ToBeEnabledAsync();
        await Expect(page.GetByLabel("Prompt", new() { Exact = true })).ToHaveValueAsync(Circle);
        await Expect(page.GetByLabel("Length")).ToHaveValueAsync("1");
        IsAway = false;
        await page.GetByRole(AriaRole.Button, new() { Name = "Generate" }).ClickAsync();
        await FinishedAsync(page);
    }

    [Fact]
    public async Task Colours_that_were_chosen_stay_chosen()
    {
        var page = await OpenAsync(new() { ColorScheme = ColorScheme.Light });
        var light = await BackgroundAsync();
        await page.GetByLabel("Dark").CheckAsync();
        await page.WaitForFunctionAsync("() => document.documentElement.dataset.theme === 'dark'");
        Assert.NotEqual(light, await BackgroundAsync());
        await ReloadAsync(page);
        await Expect(page.GetByLabel("Dark")).ToBeCheckedAsync();
        Assert.NotEqual(light, await BackgroundAsync());

        Task<string> BackgroundAsync() => page.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor");
    }

    private protected override Task<TestServer> StartAsync() => TestServer.StartAsync(data: data.Path);

    // Over the same data.
    private async Task RestartAsync()
    {
        await Server.DisposeAsync();
        Server = await StartAsync();
    }
}
