using Microsoft.AspNetCore.Components;
using Microsoft.JSInterop;

namespace PyramidFlow.Server.Page;

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
