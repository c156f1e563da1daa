using Microsoft.AspNetCore.Components;
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
