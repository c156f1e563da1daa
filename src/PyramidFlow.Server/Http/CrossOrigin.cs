using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Pages of other sites that may use REST (CORS): those of a list, none by default. They need a key in the header as any program does. Cookies of this service count for nothing in their requests, and a browser is never
/// told to send any.
/// </summary>
/// <param name="Origins">Origins such as <c>https://app.example</c>, or <c>*</c> for all.</param>
internal sealed record CrossOrigin(IReadOnlyList<string> Origins)
{
    private const string All = "*";
    private static readonly TimeSpan PreflightAge = TimeSpan.FromMinutes(10);

    // What a script can use of an answer, beside what it may always read.
    private static readonly string[] Exposed =
        [RequestIds.Header, AskedRequest.Header, "x-should-retry", "Retry-After", "ETag", "Accept-Ranges", "Content-Range", "Content-Length", "Content-Disposition", "WWW-Authenticate"];

    /// <summary>Checks the list.</summary>
    /// <exception cref="ServiceOptionException">An entry is no origin, or all pages are to be let in without a key.</exception>
    public void Check(ApiKeys keys)
    {
        foreach (var origin in Origins.Where(origin => origin != All))
        {
            if (origin.Contains('*') || !Uri.TryCreate(origin, UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https") || !origin.Equals($"{uri.Scheme}://{uri.Authority}", StringComparison.OrdinalIgnoreCase))
                throw ServiceFault.OriginInvalid(origin);
        }

        if (Origins.Contains(All) && !keys.InUse)
            throw ServiceFault.OriginsWithoutKey();
    }

    /// <summary>Whether a request comes from a page of the list to an address of REST.</summary>
    public bool Allows(HttpRequest request) => IsRest(request.Path) && request.Headers.Origin.ToString() is { Length: > 0 } origin && Allows(origin);

    /// <summary>Whether the page of a request is one of another site that is let in by the list alone: its cookies then count for nothing.</summary>
    public bool IsForeign(HttpRequest request) => Allows(request) && request.Headers["Sec-Fetch-Site"].ToString() is not ("same-origin" or "none")
        && !request.Headers.Origin.ToString().Equals($"{request.Scheme}://{request.Host}", StringComparison.OrdinalIgnoreCase);

    /// <summary>Answers preflights, and names the origin and the headers that its scripts may read.</summary>
    public void Use(WebApplication app)
    {
        if (Origins.Count == 0)
            return;
        app.UseWhen(context => IsRest(context.Request.Path), rest => rest.UseCors(policy =>
        {
            if (Origins.Contains(All))
                policy.AllowAnyOrigin();
            else
                policy.WithOrigins([.. Origins]);
            policy.WithMethods("GET", "HEAD", "POST", "DELETE").AllowAnyHeader().WithExposedHeaders(Exposed).SetPreflightMaxAge(PreflightAge);
        }));
    }

    private static bool IsRest(PathString path) => path.StartsWithSegments("/v1", StringComparison.Ordinal) || path.StartsWithSegments("/openapi", StringComparison.Ordinal);

    private bool Allows(string origin) => Origins.Any(allowed => allowed == All || allowed.Equals(origin, StringComparison.OrdinalIgnoreCase));
}
