using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Server.Page;

/// <summary>A part of the page: it is drawn anew when what it shows is different.</summary>
public abstract class StudioComponent : ComponentBase, IDisposable
{
    [Inject]
    internal Studio Studio { get; set; } = null!;

    internal VideoForm Form => Studio.Form;

    [Inject]
    internal PageScript Script { get; set; } = null!;

    /// <summary>Whether it shows videos, which change often, and not only the form.</summary>
    protected virtual bool ShowsVideos => true;

    /// <inheritdoc/>
    protected override void OnInitialized()
    {
        Studio.Changed += Draw;
        if (ShowsVideos)
            Studio.Library.Changed += Draw;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Stops listening.</summary>
    protected virtual void Dispose(bool disposing)
    {
        Studio.Changed -= Draw;
        Studio.Library.Changed -= Draw;
    }

    private void Draw() => StateHasChanged();

    private void Draw(VideoJob? before, VideoJob? now) => StateHasChanged();
}

/// <summary>The few things a browser does only for a script (<c>page.js</c>).</summary>
/// <param name="browser">The page's browser.</param>
internal sealed class PageScript(IJSRuntime browser)
{
    /// <summary>Which theme was chosen: <c>light</c>, <c>dark</c> or <c>system</c>.</summary>
    public ValueTask<string> ThemeAsync() => browser.InvokeAsync<string>("pyramidflow.theme");

    /// <summary>Chooses a theme.</summary>
    public ValueTask SetThemeAsync(string theme) => browser.InvokeVoidAsync("pyramidflow.setTheme", theme);

    /// <summary>What the browser has kept of the form; null is nothing.</summary>
    public ValueTask<string?> KeptAsync() => browser.InvokeAsync<string?>("pyramidflow.kept");

    /// <summary>Lets the browser keep the form, until it is signed out of.</summary>
    public ValueTask KeepAsync(string form) => browser.InvokeVoidAsync("pyramidflow.keep", form);

    /// <summary>Goes to where one signs in, since the key was taken away; the page ends with that.</summary>
    public async Task LeaveAsync()
    {
        try
        {
            await browser.InvokeVoidAsync("pyramidflow.leave");
        }
        catch (Exception e) when (e is JSDisconnectedException or OperationCanceledException)
        {
            // It is gone already.
        }
    }

    /// <summary>Moves the focus to an element, and it into view.</summary>
    public async ValueTask FocusAsync(string id)
    {
        // What is to have it may be drawn only when the handler that asks has let go.
        await Task.Yield();
        await browser.InvokeVoidAsync("pyramidflow.focus", id);
    }

    /// <summary>Shows a chosen file without sending it.</summary>
    /// <param name="input">Id of the input it was chosen with.</param>
    /// <param name="target">Picture or video that shows it.</param>
    public ValueTask ShowFileAsync(string input, ElementReference target) => browser.InvokeVoidAsync("pyramidflow.showFile", input, target);

    /// <summary>Plays a video while it is made, over and over what there is.</summary>
    public ValueTask PlayLiveAsync(ElementReference video, string address) => browser.InvokeVoidAsync("pyramidflow.playLive", video, address);

    /// <summary>Plays a video, unless the user wishes for less motion.</summary>
    public ValueTask PlayAsync(ElementReference video) => browser.InvokeVoidAsync("pyramidflow.play", video);
}

/// <summary>What the page is put together from.</summary>
internal static class PageServices
{
    private const long MostMessageBytes = 256 << 10;

    /// <summary>Its components, and what each open page has for itself.</summary>
    public static IServiceCollection AddPage(this IServiceCollection services)
    {
        // The form that a browser kept comes back in one message: two prompts of the longest and their schedule, escaped.
        services.AddRazorComponents().AddInteractiveServerComponents().AddHubOptions(hub => hub.MaximumReceiveMessageSize = MostMessageBytes);
        return services.AddScoped<VideoLibrary>().AddScoped<VideoForm>().AddScoped<Studio>().AddScoped<PageScript>();
    }
}
