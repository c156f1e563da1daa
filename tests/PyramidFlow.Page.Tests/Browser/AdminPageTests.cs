using Microsoft.Playwright;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Tests;
using PyramidFlow.Testing;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class AdminPageTests(Chromium chromium) : BrowserTest(chromium)
{
    private readonly TemporaryFolder data = new();
    private string boss = "", alice = "";

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        data.Dispose();
    }

    [Theory]
    [InlineData(1280, 800, ColorScheme.Light)]
    [InlineData(390, 844, ColorScheme.Dark)]
    public async Task An_administrator_sees_workers_videos_keys_and_disk_and_others_do_not(int width, int height, ColorScheme colours)
    {
        var page = await SignInAsync(alice);
        await GenerateAsync(page, units: 6, steps: "100");
        await Expect(page.GetByRole(AriaRole.Link, new() { Name = "Administration" })).ToHaveCountAsync(0);
        Assert.Equal(404, (await page.GotoAsync($"{Server.Client.BaseAddress}admin"))!.Status);

        var admin = await SignInAsync(boss);
        await admin.GetByRole(AriaRole.Link, new() { Name = "Administration" }).ClickAsync();
        await Expect(admin.GetByRole(AriaRole.Region, new() { Name = "Workers" })).ToContainTextAsync("Makes a video of alice");
        await Expect(admin.GetByRole(AriaRole.Region, new() { Name = "Keys" })).ToContainTextAsync("boss (administrator)");
        await Expect(admin.GetByRole(AriaRole.Region, new() { Name = "Disk" })).ToContainTextAsync("GB");
        await CheckAsync();
        await admin.GetByRole(AriaRole.Button, new() { Name = "Drain" }).ClickAsync();
        await Expect(admin.GetByRole(AriaRole.Region, new() { Name = "Workers" })).ToContainTextAsync("takes no more videos");
        await admin.GetByRole(AriaRole.Button, new() { Name = $"Cancel {Circle} of alice" }).ClickAsync();
        await Expect(admin.GetByRole(AriaRole.Region, new() { Name = "Workers" })).ToContainTextAsync("Idle, takes no more videos");
        await admin.GetByRole(AriaRole.Radio, new() { Name = "Failed" }).CheckAsync();
        await Expect(admin.GetByRole(AriaRole.Region, new() { Name = "Videos" })).ToContainTextAsync("Whoever runs this service stopped it");
        await CheckAsync();
        await admin.GetByRole(AriaRole.Button, new() { Name = "Resume" }).ClickAsync();
        await Expect(admin.GetByRole(AriaRole.Button, new() { Name = "Drain" })).ToBeVisibleAsync();

        async Task<IPage> SignInAsync(string key)
        {
            var opened = await BlankAsync(new() { ViewportSize = new() { Width = width, Height = height }, ColorScheme = colours });
            await opened.GotoAsync(Server.Client.BaseAddress!.ToString());
            await opened.GetByLabel("API key").FillAsync(key);
            await opened.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
            await Expect(opened.GetByRole(AriaRole.Button, new() { Name = "Generate" })).ToBeEnabledAsync();
            return opened;
        }

        async Task CheckAsync()
        {
            Assert.InRange(await admin.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, width);
            await AccessibleAsync(admin);
            if (Environment.GetEnvironmentVariable("PYRAMIDFLOW_SCREENSHOTS") is { Length: > 0 } folder)
                await admin.ScreenshotAsync(new() { Path = Path.Combine(folder, $"admin-{width}.png"), FullPage = true });
        }
    }

    private protected override Task<TestServer> StartAsync()
    {
        (alice, boss) = (new ApiKeys(data.Path).Add("alice"), new ApiKeys(data.Path).Add("boss", isAdmin: true));
        return TestServer.StartAsync(options => options with { Host = "127.0.0.1" }, data.Path);
    }

    protected override bool IsExpected(IConsoleMessage line) => base.IsExpected(line) || line.Text.Contains("status of 404", StringComparison.Ordinal);
}
