using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Server.Page;

/// <summary>A component of the page that renders again when its content changes.</summary>
public abstract class StudioComponent : ComponentBase, IDisposable
{
    [Inject]
    internal Studio Studio { get; set; } = null!;

    internal VideoForm Form => Studio.Form;

    [Inject]
    internal PageScript Script { get; set; } = null!;

    /// <summary>Whether the component shows videos, which change often, or only the form.</summary>
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

    /// <summary>Removes the event handlers.</summary>
    protected virtual void Dispose(bool disposing)
    {
        Studio.Changed -= Draw;
        Studio.Library.Changed -= Draw;
    }

    private void Draw() => StateHasChanged();

    private void Draw(VideoJob? before, VideoJob? now) => StateHasChanged();
}

/// <summary>Calls of browser functions in <c>page.js</c>.</summary>
/// <param name="browser">Access to the browser.</param>
internal sealed class PageScript(IJSRuntime browser)
{
    /// <summary>Returns the selected theme: <c>light</c>, <c>dark</c> or <c>system</c>.</summary>
    public ValueTask<string> ThemeAsync() => browser.InvokeAsync<string>("pyramidflow.theme");

    /// <summary>Selects a theme.</summary>
    public ValueTask SetThemeAsync(string theme) => browser.InvokeVoidAsync("pyramidflow.setTheme", theme);

    /// <summary>Returns the form that the browser stored; null for none.</summary>
    public ValueTask<string?> KeptAsync() => browser.InvokeAsync<string?>("pyramidflow.kept");

    /// <summary>Stores the form in the browser until sign-out.</summary>
    public ValueTask KeepAsync(string form) => browser.InvokeVoidAsync("pyramidflow.keep", form);

    /// <summary>Writes the address of what is shown, without loading it.</summary>
    public ValueTask AddressAsync(string path) => browser.InvokeVoidAsync("pyramidflow.address", path);

    /// <summary>Copies a text.</summary>
    /// <param name="text">The text.</param>
    /// <param name="input">Id of the input that holds it, which is selected where the browser does not copy.</param>
    public ValueTask CopyAsync(string text, string input) => browser.InvokeVoidAsync("pyramidflow.copy", text, input);

    /// <summary>Redirects to the sign-in after the key was removed; this ends the page.</summary>
    public async Task LeaveAsync()
    {
        try
        {
            await browser.InvokeVoidAsync("pyramidflow.leave");
        }
        catch (Exception e) when (e is JSDisconnectedException or OperationCanceledException)
        {
            // The page has ended already.
        }
    }

    /// <summary>Moves the focus to an element and scrolls to it.</summary>
    public async ValueTask FocusAsync(string id)
    {
        // The element may be rendered only after the calling handler returns.
        await Task.Yield();
        try
        {
            await browser.InvokeVoidAsync("pyramidflow.focus", id);
        }
        catch (JSDisconnectedException)
        {
            // The user has left the page meanwhile.
        }
    }

    /// <summary>Shows a selected file without uploading it.</summary>
    /// <param name="input">Id of the file input.</param>
    /// <param name="target">Picture or video element that shows the file.</param>
    /// <returns>Its width and height in pixels; null where the browser cannot open it.</returns>
    public ValueTask<int[]?> ShowFileAsync(string input, ElementReference target) => browser.InvokeAsync<int[]?>("pyramidflow.showFile", input, target);

    /// <summary>Plays a video while it is made, repeating the available part.</summary>
    public ValueTask PlayLiveAsync(ElementReference video, string address) => browser.InvokeVoidAsync("pyramidflow.playLive", video, address);

    /// <summary>Plays a video unless the user prefers reduced motion.</summary>
    public ValueTask PlayAsync(ElementReference video) => browser.InvokeVoidAsync("pyramidflow.play", video);
}

/// <summary>Registers the services of the page.</summary>
internal static class PageServices
{
    private const long MostMessageBytes = 256 << 10;

    /// <summary>Adds the components and the services of each open page.</summary>
    public static IServiceCollection AddPage(this IServiceCollection services)
    {
        // The stored form arrives in one message: two prompts of maximum length and their schedule, escaped.
        services.AddRazorComponents().AddInteractiveServerComponents().AddHubOptions(hub => hub.MaximumReceiveMessageSize = MostMessageBytes);
        return services.AddScoped<VideoLibrary>().AddScoped<VideoForm>().AddScoped<Studio>().AddScoped<PageScript>();
    }
}
