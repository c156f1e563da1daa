using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Mvc;
using PyramidFlow.Server.Rest;

namespace PyramidFlow.Server.Safety;

/// <summary>
/// Who may come in. Without keys, on a loopback address only, everybody; with keys, who sends one as a bearer, or has
/// signed in with one on the page and got a cookie for it.
/// </summary>
internal static class Access
{
    /// <summary>Where the page asks for a key.</summary>
    public const string SignInPath = "/signin";

    private const string SessionPath = "/session", Choose = "choose";
    private static readonly PathString[] Open = ["/health", SignInPath, SessionPath, "/page.css", "/_framework", "/favicon.ico"];

    public static IServiceCollection AddAccess(this IServiceCollection services, ServerOptions options)
    {
        services.AddSingleton(new ApiKeys(options.DataFolder));
        services.AddDataProtection().SetApplicationName("pyramidflow").PersistKeysToFileSystem(new DirectoryInfo(Path.Combine(Path.GetFullPath(options.DataFolder), "cookie-keys")));
        services.AddAuthentication(Choose)
            .AddPolicyScheme(Choose, null, choice => choice.ForwardDefaultSelector = context =>
                context.Request.Headers.ContainsKey("Authorization") ? KeyAuthentication.Name : CookieAuthenticationDefaults.AuthenticationScheme)
            .AddScheme<AuthenticationSchemeOptions, KeyAuthentication>(KeyAuthentication.Name, null)
            .AddCookie(cookie =>
            {
                cookie.Cookie.Name = "pyramidflow";
                cookie.Cookie.HttpOnly = true;
                cookie.Cookie.SameSite = SameSiteMode.Strict;
                cookie.ExpireTimeSpan = TimeSpan.FromDays(30);
                cookie.SlidingExpiration = true;
                cookie.Events.OnValidatePrincipal = RejectRemovedAsync;
            });
        return services;
    }

    /// <summary>Turns away who has no key, if there are keys.</summary>
    public static void UseAccess(this WebApplication app)
    {
        app.UseAuthentication();
        app.Use(async (context, next) =>
        {
            var keys = context.RequestServices.GetRequiredService<ApiKeys>();
            if (!keys.InUse || context.User.Identity is { IsAuthenticated: true } || Open.Any(path => context.Request.Path.StartsWithSegments(path, StringComparison.Ordinal)))
            {
                await next(context).ConfigureAwait(false);
                return;
            }

            if (HttpMethods.IsGet(context.Request.Method) && !context.Request.Path.StartsWithSegments("/v1", StringComparison.Ordinal)
                && context.Request.Headers.Accept.ToString().Contains("text/html", StringComparison.Ordinal))
            {
                context.Response.Redirect(SignInPath);
                return;
            }

            context.Response.Headers.WWWAuthenticate = "Bearer";
            await Problems.WriteAsync(context, ProblemObject.Of(401, "this service needs an API key: send it as 'Authorization: Bearer KEY'", "no_key")).ConfigureAwait(false);
        });
    }

    /// <summary>Signing in on the page and out again.</summary>
    public static void MapSession(this IEndpointRouteBuilder routes)
    {
        // Another site cannot post here: it is stopped by its origin, before the form is read.
        routes.MapPost(SessionPath, async (HttpContext context, [FromForm] string? key, ApiKeys keys) =>
        {
            if (keys.NameOf(key?.Trim() ?? "") is not { } name)
                return Results.LocalRedirect($"{SignInPath}?wrong");
            await context.SignInAsync(CookieAuthenticationDefaults.AuthenticationScheme, KeyAuthentication.User(name, CookieAuthenticationDefaults.AuthenticationScheme)).ConfigureAwait(false);
            return Results.LocalRedirect("/");
        }).DisableAntiforgery().ExcludeFromDescription().RequireRateLimiting(RateLimits.SignIn);
        routes.MapPost($"{SessionPath}/end", async (HttpContext context) =>
        {
            await context.SignOutAsync(CookieAuthenticationDefaults.AuthenticationScheme).ConfigureAwait(false);
            return Results.LocalRedirect(SignInPath);
        }).DisableAntiforgery().ExcludeFromDescription();
    }

    // A key that was taken away takes its cookies with it.
    private static async Task RejectRemovedAsync(CookieValidatePrincipalContext context)
    {
        var keys = context.HttpContext.RequestServices.GetRequiredService<ApiKeys>();
        if (context.Principal?.Identity?.Name is { } name && keys.Names.Contains(name))
            return;
        context.RejectPrincipal();
        await context.HttpContext.SignOutAsync(CookieAuthenticationDefaults.AuthenticationScheme).ConfigureAwait(false);
    }
}
