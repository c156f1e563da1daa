using Microsoft.AspNetCore.ResponseCompression;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Compresses what is the same for everybody: script, style and icon of the page, and the OpenAPI document. Answers about videos and the page itself hold texts of users beside what is not for others,
/// and the length of a compressed answer can give that away (BREACH), so they are sent as they are; so are pictures, videos and events.
/// </summary>
internal static class Compression
{
    private static readonly PathString[] Public = ["/page.css", "/page.js", "/icon.svg", "/_framework", "/openapi"];

    public static IServiceCollection AddCompression(this IServiceCollection services) => services.AddResponseCompression(compression =>
    {
        compression.EnableForHttps = true;
        compression.MimeTypes = ["text/css", "text/javascript", "application/javascript", "image/svg+xml", "application/json"];
    }).Configure<BrotliCompressionProviderOptions>(brotli => brotli.Level = System.IO.Compression.CompressionLevel.Optimal);

    public static void UseCompression(this WebApplication app) => app.UseWhen(
        context => Public.Any(path => context.Request.Path.StartsWithSegments(path, StringComparison.Ordinal)), branch => branch.UseResponseCompression());
}
