using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Options;

namespace PyramidFlow.Server.Safety;

/// <summary>Knows who asks by the key in <c>Authorization: Bearer</c>.</summary>
internal sealed class KeyAuthentication(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logger, UrlEncoder encoder, ApiKeys keys)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logger, encoder)
{
    public const string Name = "key";
    private const string Bearer = "Bearer ";

    /// <summary>The user a key stands for.</summary>
    public static ClaimsPrincipal User(string name, string scheme) => new(new ClaimsIdentity([new Claim(ClaimTypes.Name, name)], scheme));

    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        var header = Request.Headers.Authorization.ToString();
        if (!header.StartsWith(Bearer, StringComparison.OrdinalIgnoreCase))
            return Task.FromResult(AuthenticateResult.NoResult());
        return Task.FromResult(keys.NameOf(header[Bearer.Length..].Trim()) is { } name
            ? AuthenticateResult.Success(new AuthenticationTicket(User(name, Name), Name))
            : AuthenticateResult.Fail("unknown key"));
    }
}
