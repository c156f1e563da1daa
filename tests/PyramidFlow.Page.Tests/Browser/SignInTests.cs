using Microsoft.Playwright;
using PyramidFlow.Server;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Tests;
using PyramidFlow.Testing;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class SignInTests(Chromium chromium) : BrowserTest(chromium)
{
    private readonly TemporaryFolder data = new();
    private string key = "";
    private TlsProxy? proxy;

    private ApiKeys Keys => new(data.Path);

    private int Port => Server.Client.BaseAddress!.Port;

    public override async ValueTask DisposeAsync()
    {
        try
        {
            await base.DisposeAsync();
        }
        finally
        {
            // After the pages are closed, because a page that still loads something complains of a proxy that is gone.
            if (proxy is not null)
                await proxy.DisposeAsync();
            data.Dispose();
        }
    }

    [Theory]
    [InlineData("127.0.0.1", "127.0.0.1")]
    [InlineData("127.0.0.2", "127.0.0.2")]
    [InlineData("0.0.0.0", Chromium.OtherName)]
    public async Task One_signs_in_with_a_key_is_told_of_a_wrong_one_and_signs_out(string host, string name)
    {
        await RestartAsync(options => options with { Host = host });
        var page = await BlankAsync();
        await page.GotoAsync($"http://{name}:{Port}/");
        await SignInAsync(page, "pf_wrong");
        await Expect(page.Locator("#key-error")).ToContainTextAsync("not a key of this service");
        await SignInAsync(page, key);
        await UsableAsync(page);
        var cookie = Assert.Single(await page.Context.CookiesAsync(), cookie => cookie.Name == "pyramidflow");
        Assert.Equal((true, false, SameSiteAttribute.Strict), (cookie.HttpOnly, cookie.Secure, cookie.SameSite));
        await AskAsync(page);

        await SignOutAsync(page);
        await page.GotoAsync($"http://{name}:{Port}/");
        await Expect(page.GetByLabel("API key")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Behind_a_proxy_with_TLS_one_signs_in_and_out_and_cookies_travel_with_TLS_only()
    {
        await RestartAsync(options => options with { Proxies = ["127.0.0.1"], AllowedHosts = [Chromium.OtherName] });
        proxy = new TlsProxy(Server.Client.BaseAddress!);
        var page = await BlankAsync(new() { IgnoreHTTPSErrors = true });
        await page.GotoAsync($"https://{Chromium.OtherName}:{proxy.Port}/");
        await SignInAsync(page, "pf_wrong");
        await Expect(page.Locator("#key-error")).ToBeVisibleAsync();
        await SignInAsync(page, key);
        await UsableAsync(page);
        var cookies = await page.Context.CookiesAsync();
        Assert.Contains(cookies, cookie => cookie.Name == "pyramidflow");
        Assert.All(cookies, cookie => Assert.True(cookie is { Secure: true, HttpOnly: true }, cookie.Name));
        await AskAsync(page);
        await SignOutAsync(page);

        await SignInAsync(page, key);
        await UsableAsync(page);
        Keys.Remove("alice");
        await EndedAsync(page);
    }

    [Fact]
    public async Task Behind_a_proxy_that_is_not_named_one_signs_in_and_out_too()
    {
        await RestartAsync(options => options with { AllowedHosts = [Chromium.OtherName] });
        proxy = new TlsProxy(Server.Client.BaseAddress!);
        var page = await BlankAsync(new() { IgnoreHTTPSErrors = true });
        await page.GotoAsync($"https://{Chromium.OtherName}:{proxy.Port}/");
        await SignInAsync(page, key);
        await UsableAsync(page);
        await AskAsync(page);
        await SignOutAsync(page);
    }

    [Fact]
    public async Task A_page_whose_key_is_removed_ends_and_a_new_key_of_the_same_name_sees_none_of_its_videos()
    {
        var page = await BlankAsync();
        await page.GotoAsync(Server.Client.BaseAddress!.ToString());
        await SignInAsync(page, key);
        await UsableAsync(page);
        await AskAsync(page);
        var cookies = await page.Context.CookiesAsync();

        Assert.True(Keys.Remove("alice"));
        await EndedAsync(page);
        key = Keys.Add("alice");
        // As a browser that was shut meanwhile would bring it.
        await page.Context.AddCookiesAsync(cookies.Select(cookie => new Cookie { Name = cookie.Name, Value = cookie.Value, Url = Server.Client.BaseAddress!.ToString(), HttpOnly = true }));
        await page.GotoAsync(Server.Client.BaseAddress!.ToString());
        await SignInAsync(page, key);
        await UsableAsync(page);
        await Expect(page.Locator("#stage")).ToContainTextAsync("Nothing made yet");
    }

    [Fact]
    public async Task Who_signs_out_in_one_tab_has_signed_out_in_all()
    {
        var page = await BlankAsync();
        await page.GotoAsync(Server.Client.BaseAddress!.ToString());
        await SignInAsync(page, key);
        await UsableAsync(page);
        var other = await page.Context.NewPageAsync();
        await other.GotoAsync(Server.Client.BaseAddress!.ToString());
        await UsableAsync(other);
        await SignOutAsync(page);
        await Expect(other.GetByLabel("API key")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task A_page_that_was_opened_without_a_key_ends_when_keys_come_into_use()
    {
        Keys.Remove("alice");
        await RestartAsync();
        var page = await OpenAsync();
        await AskAsync(page);
        key = Keys.Add("bob");
        await EndedAsync(page);
        await SignInAsync(page, key);
        await UsableAsync(page);
        await Expect(page.Locator("#stage")).ToContainTextAsync("Nothing made yet");
    }

    [Theory]
    [InlineData("")]
    [InlineData("<meta name='referrer' content='no-referrer'>")]
    public async Task A_form_of_another_site_is_refused_with_a_page_in_words(string head)
    {
        var page = await BlankAsync();
        await page.RouteAsync("http://evil.example/", route => route.FulfillAsync(new()
        {
            ContentType = "text/html",
            Body = $"<!DOCTYPE html><html lang='en'><head>{head}</head><body><form method='post' action='{Server.Client.BaseAddress}session'><input name='key' value='{key}'><button>Win</button></form></body></html>",
        }));
        await page.GotoAsync("http://evil.example/");
        var answer = await page.RunAndWaitForResponseAsync(() => page.GetByText("Win").ClickAsync(), response => response.Url.EndsWith("/session", StringComparison.Ordinal));
        Assert.Equal((403, "text/html; charset=utf-8"), (answer.Status, await answer.HeaderValueAsync("content-type")));
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("A page of another site may not use this service");
        await page.GetByText("Back to the page").ClickAsync();
        await Expect(page.GetByLabel("API key")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task A_browser_that_hides_where_it_comes_from_can_sign_in_and_out()
    {
        const string Hide = "document.head.insertAdjacentHTML('beforeend', '<meta name=\"referrer\" content=\"no-referrer\">')";
        var page = await BlankAsync();
        await page.GotoAsync(Server.Client.BaseAddress!.ToString());
        await page.EvaluateAsync(Hide);
        var request = await page.RunAndWaitForRequestAsync(() => SignInAsync(page, key), sent => sent.Method == "POST" && sent.Url.EndsWith("/session", StringComparison.Ordinal));
        Assert.Equal("null", (await request.AllHeadersAsync())["origin"]);
        await UsableAsync(page);
        await page.EvaluateAsync(Hide);
        await SignOutAsync(page);
    }

    [Fact]
    public async Task The_page_too_may_ask_for_only_so_many_videos_in_a_minute()
    {
        await RestartAsync(options => options with { Limits = new ServerLimits { RequestsPerMinute = 1 } });
        var page = await BlankAsync();
        await page.GotoAsync(Server.Client.BaseAddress!.ToString());
        await SignInAsync(page, key);
        await UsableAsync(page);
        await AskAsync(page);
        await GenerateAsync(page);
        await Expect(page.Locator("#form-error")).ToContainTextAsync("Too many videos were asked for in one minute");
    }

    [Fact]
    public async Task Signing_in_is_accessible()
    {
        var page = await BlankAsync();
        await page.GotoAsync($"{Server.Client.BaseAddress}signin?ended");
        await SignInAsync(page, "pf_wrong");
        await Expect(page.Locator("#key-error")).ToBeVisibleAsync();
        await AccessibleAsync(page);
        await page.GotoAsync($"{Server.Client.BaseAddress}signin?ended");
        await Expect(page.GetByRole(AriaRole.Alert)).ToBeVisibleAsync();
        await AccessibleAsync(page);
    }

    private protected override Task<TestServer> StartAsync()
    {
        key = Keys.Add("alice");
        return TestServer.StartAsync(options => options with { RunsWorker = false }, data.Path);
    }

    // A refusal that a form leads to is a fault to the browser; so is a file of a page whose key was just taken away. And one
    // of our headers it heeds only with TLS or on loopback, and says so.
    protected override bool IsExpected(IConsoleMessage line) => base.IsExpected(line)
        || line.Text.Contains("status of 403", StringComparison.Ordinal) || line.Text.Contains("status of 401", StringComparison.Ordinal)
        || line.Text.StartsWith("The Cross-Origin-Opener-Policy header has been ignored", StringComparison.Ordinal);

    private static async Task SignInAsync(IPage page, string key)
    {
        await page.GetByLabel("API key").FillAsync(key);
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
    }

    private static Task UsableAsync(IPage page) => Expect(page.GetByRole(AriaRole.Button, new() { Name = "Generate" })).ToBeEnabledAsync();

    private static async Task SignOutAsync(IPage page)
    {
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign out" }).ClickAsync();
        await Expect(page.GetByLabel("API key")).ToBeVisibleAsync();
    }

    private static async Task AskAsync(IPage page)
    {
        await GenerateAsync(page);
        await Expect(page.Locator("#stage")).ToContainTextAsync("in the queue");
    }

    private static async Task EndedAsync(IPage page)
    {
        await Expect(page.GetByLabel("API key")).ToBeVisibleAsync();
        await Expect(page.GetByRole(AriaRole.Alert)).ToContainTextAsync("sign in again");
    }

    // Over the same data, without a worker.
    private async Task RestartAsync(Func<ServerOptions, ServerOptions>? change = null)
    {
        await Server.DisposeAsync();
        Server = await TestServer.StartAsync(options => (change?.Invoke(options) ?? options) with { RunsWorker = false }, data.Path);
    }
}
