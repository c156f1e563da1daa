using AngleSharp.Dom;
using Bunit;
using Bunit.TestDoubles;
using Microsoft.AspNetCore.Components;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging.Abstractions;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page;
using PyramidFlow.Server.Page.State;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Page.Tests.Components;

/// <summary>The page over jobs that a test moves on.</summary>
public abstract class PageContext : BunitContext
{
    protected PageContext()
    {
        // Patience for busy machines; nothing is measured by it.
        DefaultWaitTimeout = TimeSpan.FromMinutes(1);
        JSInterop.Mode = JSRuntimeMode.Loose;
        JSInterop.Setup<string>("pyramidflow.theme").SetResult("system");
        // Not started: nobody's key is taken away.
        var keys = new KeyWatch(new ApiKeys(Path.Combine(Path.GetTempPath(), Path.GetRandomFileName())), null!, null!, new BackgroundHealth(), NullLogger<KeyWatch>.Instance);
        Services.AddSingleton(keys).AddSingleton<IVideoJobs>(Jobs).AddSingleton(new ServerLimits { ImageBytes = 1 << 20 })
            .AddDataProtection().Services.AddSingleton<LinkTokens>().AddSingleton<ShareLinks>().AddScoped<VideoLibrary>().AddScoped<VideoForm>().AddScoped<Studio>().AddScoped<PageScript>();
        BunitAuthorizationContext user = AddAuthorization();
        user.SetNotAuthorized();
        SetRendererInfo(new RendererInfo("Server", true));
    }

    private protected FakeVideoJobs Jobs { get; } = new();

    private protected Studio Studio => Services.GetRequiredService<Studio>();

    /// <summary>Opens the page.</summary>
    protected IRenderedComponent<Home> Open()
    {
        var page = Render<Home>();
        page.WaitForAssertion(() => Assert.True(Studio.Library.IsLoaded || Studio.IsStale));
        return page;
    }

    /// <summary>Presses the button of that name, which may come with the next rendering.</summary>
    protected static void Press(IRenderedComponent<Home> page, string name)
    {
        page.WaitForAssertion(() => Button(page, name));
        Button(page, name).Click();
    }

    /// <summary>The button of that name.</summary>
    protected static IElement Button(IRenderedComponent<Home> page, string name) =>
        page.FindAll("button").FirstOrDefault(button => (button.GetAttribute("aria-label") ?? button.TextContent.Trim()) == name)
        ?? throw new InvalidOperationException($"there is no button '{name}' but: {string.Join(", ", page.FindAll("button").Select(button => button.TextContent.Trim()))}");

    /// <summary>What is said beside a field; the field must point at it.</summary>
    protected static string ErrorOf(IRenderedComponent<Home> page, string field)
    {
        var control = page.Find($"#{field}");
        Assert.Equal("true", control.GetAttribute("aria-invalid"));
        Assert.Contains($"{field}-error", control.GetAttribute("aria-describedby"), StringComparison.Ordinal);
        return page.Find($"#{field}-error").TextContent;
    }

    /// <summary>The focus was moved to that element last.</summary>
    protected void FocusIs(IRenderedComponent<Home> page, string id) =>
        page.WaitForAssertion(() => Assert.Equal(id, JSInterop.Invocations["pyramidflow.focus"].LastOrDefault().Arguments?[0]));
}
