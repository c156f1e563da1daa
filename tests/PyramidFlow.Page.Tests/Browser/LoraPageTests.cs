using PyramidFlow.Server.Tests;
using PyramidFlow.Testing;

namespace PyramidFlow.Page.Tests.Browser;

public sealed class LoraPageTests(Chromium chromium) : BrowserTest(chromium)
{
    private readonly TemporaryFolder folder = new();

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        folder.Dispose();
    }

    [Fact]
    public async Task A_LoRA_is_chosen_and_weighed_survives_a_reload_and_stands_under_its_video()
    {
        var page = await OpenAsync(new() { ViewportSize = new() { Width = 360, Height = 800 } });
        await page.GetByLabel("Add a LoRA").SelectOptionAsync("style");
        await Expect(page.GetByLabel("Add a LoRA")).ToBeFocusedAsync();
        await page.GetByLabel("Weight of style").FillAsync("0.5");
        await page.GetByLabel("Weight of style").PressAsync("Tab");
        await page.WaitForFunctionAsync("() => localStorage.getItem('form')?.includes('style:0.5')");
        Assert.InRange(await page.EvaluateAsync<int>("document.documentElement.scrollWidth"), 1, 360);
        await AccessibleAsync(page);

        await ReloadAsync(page);
        await Expect(page.GetByLabel("Weight of style")).ToHaveValueAsync("0.5");
        await GenerateAsync(page, units: 0);
        await FinishedAsync(page);
        await Expect(page.Locator(".facts")).ToContainTextAsync("style:0.5");
    }

    private protected override Task<TestServer> StartAsync()
    {
        MadeUpLora.Write(folder.File("style.safetensors"), 1);
        return TestServer.StartAsync(options => options with { LoraFolder = folder.Path });
    }
}
