using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Server.Page;

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
