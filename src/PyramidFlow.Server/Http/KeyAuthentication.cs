using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace PyramidFlow.Server.Http;

/// <summary>Knows who asks by the key in <c>Authorization: Bearer</c>.</summary>
internal sealed class KeyAuthentication(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, ApiKeys keys)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    public const string Name = "key";
    private const string Bearer = "Bearer ";

    /// <summary>The user a key stands for. The identifier is the owner, in which the key's hash has a part: it ends with the key.</summary>
    public static ClaimsPrincipal User(string owner, string scheme) =>
        new(new ClaimsIdentity([new Claim(ClaimTypes.NameIdentifier, owner), new Claim(ClaimTypes.Name, ApiKeys.NameOfOwner(owner))], scheme));

    /// <summary>Whether a request brings a key; what a proxy wants for itself (Basic) is none.</summary>
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
