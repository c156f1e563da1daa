using Deque.AxeCore.Playwright;
using Microsoft.Playwright;
using PyramidFlow.Server.Tests;

namespace PyramidFlow.Page.Tests.Browser;

/// <summary>A page in a real browser over a real server; what the browser complains of, such as its content policy, fails the test.</summary>
public abstract class BrowserTest(Chromium chromium) : IClassFixture<Chromium>, IAsyncLifetime
{
    protected const string Circle = "a small red circle moving right on a black background";

    // Long, for machines that do other things beside; nothing is measured by it.
    private const float Patience = 240_000;

    private readonly List<IBrowserContext> contexts = [];
    private readonly List<string> complaints = [];

    /// <summary>Whether the server is away: the browser may complain of anything that cannot reach it.</summary>
    protected bool IsAway { get; set; }

    private protected TestServer Server { get; set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Assertions.SetDefaultExpectTimeout(Patience);
        _ = chromium.Browser;
        Server = await StartAsync();
    }

    public virtual async ValueTask DisposeAsync()
    {
        foreach (var context in contexts)
            await context.CloseAsync();
        if (Server is not null)
            await Server.DisposeAsync();
        GC.SuppressFinalize(this);
        Assert.Empty(complaints);
    }

    /// <summary>Starts the server.</summary>
    private protected virtual Task<TestServer> StartAsync() => TestServer.StartAsync();

    /// <summary>Opens the page and waits until it can be used.</summary>
    protected async Task<IPage> OpenAsync(BrowserNewContextOptions? options = null)
    {
        var page = await BlankAsync(options);
        await page.GotoAsync(Server.Client.BaseAddress!.ToString());
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Generate" })).ToBeEnabledAsync();
        return page;
    }

    /// <summary>Opens a page of nothing, in a browser that has no cookies yet.</summary>
    protected async Task<IPage> BlankAsync(BrowserNewContextOptions? options = null)
    {
        var context = await chromium.Browser.NewContextAsync(options ?? new() { ViewportSize = new() { Width = 1280, Height = 900 } });
        contexts.Add(context);
        context.SetDefaultTimeout(Patience);
        var page = await context.NewPageAsync();
        page.PageError += (_, error) =>
        {
            if (!IsAway)
                complaints.Add(error);
        };
        page.Console += (_, line) =>
        {
            if (line.Type == "error" && !IsAway && !IsExpected(line))
                complaints.Add($"{line.Text} ({line.Location})");
        };
        return page;
    }

    /// <summary>Whether the browser may complain of something.</summary>
    /// <param name="line">What it says: a preview that the page was told of is gone when the video is done before it is fetched.</param>
    protected virtual bool IsExpected(IConsoleMessage line) => line.Location.Contains("variant=preview", StringComparison.Ordinal);

    protected static async Task ReloadAsync(IPage page)
    {
        await page.ReloadAsync();
        await Expect(page.GetByRole(AriaRole.Button, new() { Name = "Generate" })).ToBeEnabledAsync();
    }

    /// <summary>Fills in prompt, length and steps, and presses Generate.</summary>
    protected static async Task GenerateAsync(IPage page, string prompt = Circle, int units = 1, string steps = "1")
    {
        await page.GetByLabel("Prompt", new() { Exact = true }).FillAsync(prompt);
        await page.GetByLabel("Length").FillAsync($"{units}");
        if (!await page.Locator(".more").EvaluateAsync<bool>("details => details.open"))
            await page.GetByText("Steps, guidance, what to avoid").ClickAsync();
        await page.GetByLabel("Steps, first frame").FillAsync(steps);
        await page.GetByLabel("Steps, motion").FillAsync(steps);
        await page.GetByRole(AriaRole.Button, new() { Name = "Generate" }).ClickAsync();
    }

    /// <summary>Waits until the stage shows a finished video that can be played, or a picture.</summary>
    protected static async Task FinishedAsync(IPage page)
    {
        await Expect(page.GetByRole(AriaRole.Link, new() { Name = "Download" })).ToBeVisibleAsync();
        await page.WaitForFunctionAsync("() => document.querySelector('#stage video')?.readyState >= 2 || document.querySelector('#stage .frame img')?.naturalWidth > 0");
    }

    /// <summary>What no user should meet: of the rules of axe, those that are serious or worse.</summary>
    protected static async Task AccessibleAsync(IPage page)
    {
        // Colours on their way are no colours to judge.
        await page.EvaluateAsync("Promise.all(document.getAnimations().filter(a => a.effect.getComputedTiming().iterations !== Infinity).map(a => a.finished.catch(() => 0)))");
        var result = await page.RunAxe();
        Assert.NotEmpty(result.Passes);
        Assert.Empty(result.Violations.Where(rule => rule.Impact is "serious" or "critical")
            .Select(rule => $"{rule.Id}: {rule.Help}: {string.Join(" ", rule.Nodes.Select(node => node.Html))}"));
    }

    protected static ILocatorAssertions Expect(ILocator locator) => Assertions.Expect(locator);
}
