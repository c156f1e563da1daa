using Microsoft.Playwright;

namespace PyramidFlow.Page.Tests.Browser;

/// <summary>Debian's Chromium, started once; where it is not installed, tests of the browser are skipped.</summary>
public sealed class Chromium : IAsyncLifetime
{
    /// <summary>A name that the browser takes for this machine; without TLS it is no secure context to the browser, as another machine is none.</summary>
    public const string OtherName = "videos.example";

    private static readonly string Path = Environment.GetEnvironmentVariable("PYRAMIDFLOW_CHROMIUM") ?? "/usr/bin/chromium";
    private IPlaywright? playwright;
    private IBrowser? browser;

    /// <summary>The browser.</summary>
    public IBrowser Browser
    {
        get
        {
            Assert.SkipWhen(browser is null, $"there is no {Path}: apt-get install chromium, or name one in PYRAMIDFLOW_CHROMIUM");
            return browser;
        }
    }

    public async ValueTask InitializeAsync()
    {
        if (!File.Exists(Path))
            return;
        playwright = await Playwright.CreateAsync();
        browser = await playwright.Chromium.LaunchAsync(new() { ExecutablePath = Path, Args = ["--disable-gpu", "--disable-dev-shm-usage", $"--host-resolver-rules=MAP {OtherName} 127.0.0.1"] });
    }

    public async ValueTask DisposeAsync()
    {
        if (browser is not null)
            await browser.DisposeAsync();
        playwright?.Dispose();
    }
}
