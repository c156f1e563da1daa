using System.Security.Claims;

namespace PyramidFlow.Server.Jobs;

/// <summary>Who asks: the name of an API key, or <see cref="Local"/> when no keys are in use.</summary>
/// <param name="Name">Name of the key.</param>
public readonly record struct Owner(string Name)
{
    /// <summary>Whoever sits at this machine.</summary>
    public static Owner Local { get; } = new("local");

    /// <summary>Who is signed in; without keys everybody is <see cref="Local"/>.</summary>
    /// <param name="user">User of a request, or of the page's authentication state.</param>
    public static Owner Of(ClaimsPrincipal user) => user.Identity is { IsAuthenticated: true, Name: { } name } ? new(name) : Local;

    /// <inheritdoc/>
    public override string ToString() => Name;
}
