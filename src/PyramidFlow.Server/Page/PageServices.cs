using PyramidFlow.Server.Page.State;

namespace PyramidFlow.Server.Page;

/// <summary>What the page is put together from.</summary>
internal static class PageServices
{
    /// <summary>Its components, and what each open page has for itself.</summary>
    public static IServiceCollection AddPage(this IServiceCollection services)
    {
        services.AddRazorComponents().AddInteractiveServerComponents();
        return services.AddScoped<VideoLibrary>().AddScoped<VideoForm>().AddScoped<Studio>().AddScoped<PageScript>();
    }
}
