using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.DataProtection;
using Microsoft.AspNetCore.Mvc;
using Microsoft.Extensions.Options;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;
using PyramidFlow.Server.Worker;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Authentication. Without keys, on a loopback address only, everybody has access; with keys, a request needs one as a
/// bearer token, or a cookie from a sign-in on the page. The cookie contains the owner, which includes a part of the
/// key's hash: it ends with the key, and a later key of the same name does not revive it. Open connections end with the
/// key too.
/// </summary>
internal static class Access
{
    /// <summary>Path of the sign-in page.</summary>
    public const string SignInPath = "/signin";

    private const string AdminPath = "/admin", SessionPath = "/session", PagePath = "/_blazor", Choose = "choose";
    private static readonly PathString[] Open = ["/health", SignInPath, SessionPath, ShareLinks.Path, "/page.css", "/_framework", "/favicon.ico", ImageEndpoints.Files];

    public static IServiceCollection AddAccess(this IServiceCollection services, string dataFolder, ApiKeys keys)
    {
        services.AddSingleton(keys).AddSingleton<KeyWatch>().AddHostedService(provider => provider.GetRequiredService<KeyWatch>());
        services.AddDataProtection().SetApplicationName("pyramidflow").PersistKeysToFileSystem(new DirectoryInfo(Path.Combine(Path.GetFullPath(dataFolder), "cookie-keys")));
        services.AddAuthentication(Choose)
            .AddPolicyScheme(Choose, null, choice => choice.ForwardDefaultSelector = context =>
                KeyAuthentication.IsFor(context.Request) || context.RequestServices.GetRequiredService<CrossOrigin>().IsForeign(context.Request) ? KeyAuthentication.Name : CookieAuthenticationDefaults.AuthenticationScheme)
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
        // Behind a proxy that terminates TLS the cookie never travels without TLS.
        services.AddAntiforgery(antiforgery => antiforgery.Cookie.SecurePolicy = CookieSecurePolicy.SameAsRequest);
        return services;
    }

    /// <summary>Refuses requests without a key, if keys are in use.</summary>
    public static void UseAccess(this WebApplication app)
    {
        app.UseAuthentication();
        app.Use(async (context, next) =>
        {
            var path = context.Request.Path;
            if (Open.Any(open => path.StartsWithSegments(open, StringComparison.Ordinal)))
            {
                await next(context).ConfigureAwait(false);
                return;
            }

            var keys = context.RequestServices.GetRequiredService<ApiKeys>();
            if (!keys.InUse || context.User.Identity is { IsAuthenticated: true })
            {
                // To everybody else there is no such page.
                if (path.StartsWithSegments(AdminPath, StringComparison.OrdinalIgnoreCase) && !keys.IsAdmin(Owner.From(context.User)))
                    throw ServiceFault.AddressUnknown();
                // The page redirects itself to the sign-in.
                var end = path.StartsWithSegments(PagePath, StringComparison.Ordinal) ? default : context.RequestServices.GetRequiredService<KeyWatch>().EndOf(Owner.From(context.User));
                await using (end.UnsafeRegister(static aborted => ((HttpContext)aborted!).Abort(), context).ConfigureAwait(false))
                    await next(context).ConfigureAwait(false);
                return;
            }

            if (HttpMethods.IsGet(context.Request.Method) && ProblemPage.IsFor(context.Request))
            {
                context.Response.Redirect(SignInPath);
                return;
            }

            context.Response.Headers.WWWAuthenticate = "Bearer";
            await Problems.WriteAsync(context, ServiceFault.KeyMissing()).ConfigureAwait(false);
        });
    }

    /// <summary>Maps sign-in and sign-out.</summary>
    public static void MapSession(this IEndpointRouteBuilder routes)
    {
        // OriginCheck stops posts of other sites before the form is read.
        routes.MapPost(SessionPath, async (HttpContext context, [FromForm] string? key, ApiKeys keys) =>
        {
            if (keys.OwnerOf(key?.Trim() ?? "") is not { } owner)
                return Results.LocalRedirect($"{SignInPath}?wrong");
            await context.SignInAsync(CookieAuthenticationDefaults.AuthenticationScheme, KeyAuthentication.User(owner, CookieAuthenticationDefaults.AuthenticationScheme)).ConfigureAwait(false);
            return Results.LocalRedirect("/");
        }).DisableAntiforgery().ExcludeFromDescription().RequireRateLimiting(RateLimits.SignIn);
        routes.MapPost($"{SessionPath}/end", async (HttpContext context) =>
        {
            await context.SignOutAsync(CookieAuthenticationDefaults.AuthenticationScheme).ConfigureAwait(false);
            return Results.LocalRedirect(SignInPath);
        }).DisableAntiforgery().ExcludeFromDescription();
    }

    // A removed key invalidates its cookies.
    private static async Task RejectRemovedAsync(CookieValidatePrincipalContext context)
    {
        var keys = context.HttpContext.RequestServices.GetRequiredService<ApiKeys>();
        if (context.Principal?.FindFirstValue(ClaimTypes.NameIdentifier) is { } owner && keys.InUse && keys.Allows(new Owner(owner)))
            return;
        context.RejectPrincipal();
        await context.HttpContext.SignOutAsync(CookieAuthenticationDefaults.AuthenticationScheme).ConfigureAwait(false);
    }
}

/// <summary>Authenticates requests by the key in <c>Authorization: Bearer</c>.</summary>
internal sealed class KeyAuthentication(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, ApiKeys keys)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    public const string Name = "key";
    private const string Bearer = "Bearer ";

    /// <summary>Creates the user of a key. The identifier is the owner, which includes a part of the key's hash.</summary>
    public static ClaimsPrincipal User(string owner, string scheme) =>
        new(new ClaimsIdentity([new Claim(ClaimTypes.NameIdentifier, owner), new Claim(ClaimTypes.Name, ApiKeys.NameOfOwner(owner))], scheme));

    /// <summary>Whether a request has a bearer key; other schemes, such as Basic for a proxy, do not count.</summary>
    public static bool IsFor(HttpRequest request) => request.Headers.Authorization.ToString().StartsWith(Bearer, StringComparison.OrdinalIgnoreCase);

    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (!IsFor(Request))
            return Task.FromResult(AuthenticateResult.NoResult());
        return Task.FromResult(keys.OwnerOf(Request.Headers.Authorization.ToString()[Bearer.Length..].Trim()) is { } owner
            ? AuthenticateResult.Success(new AuthenticationTicket(User(owner, Name), Name))
            : AuthenticateResult.Fail("unknown key"));
    }
}
