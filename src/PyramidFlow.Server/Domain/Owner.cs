using System.Security.Claims;

namespace PyramidFlow.Server.Domain;

/// <summary>The owner of requests and videos: an API key, or <see cref="Local"/> when no keys are in use.</summary>
/// <param name="Name">The key's name and the first digits of its hash; a later key of the same name is another owner.</param>
public readonly record struct Owner(string Name)
{
    /// <summary>Whoever sits at this machine.</summary>
    public static Owner Local { get; } = new("local");

    /// <summary>Who is signed in; without keys everybody is <see cref="Local"/>.</summary>
    /// <param name="user">User of a request, or of the page's authentication state.</param>
    public static Owner Of(ClaimsPrincipal user) => user.Identity is { IsAuthenticated: true } && user.FindFirstValue(ClaimTypes.NameIdentifier) is { } owner ? new(owner) : Local;

    /// <inheritdoc/>
    public override string ToString() => Name;
}
