using System.Text;
using System.Text.Encodings.Web;

namespace PyramidFlow.Server.Http;

/// <summary>A refusal as a page, for who sees it in a browser: a form or a link led there.</summary>
internal static class ProblemPage
{
    /// <summary>Whether a browser asks for a page and not a program for data. What is under <c>/v1</c> is for programs.</summary>
    public static bool IsFor(HttpRequest request) =>
        !request.Path.StartsWithSegments("/v1", StringComparison.Ordinal) && request.Headers.Accept.ToString().Contains("text/html", StringComparison.OrdinalIgnoreCase);

    /// <summary>The page.</summary>
    public static byte[] Of(ProblemObject problem)
    {
        var (title, detail) = (HtmlEncoder.Default.Encode(problem.Title), HtmlEncoder.Default.Encode(Page.Words.Sentence(problem.Detail)));
        return Encoding.UTF8.GetBytes(
            $"""
            <!DOCTYPE html>
            <html lang="en">
            <head>
                <meta charset="utf-8" />
                <meta name="viewport" content="width=device-width, initial-scale=1" />
                <meta name="color-scheme" content="light dark" />
                <title>{title} · PyramidFlow</title>
                <link rel="icon" href="/icon.svg" type="image/svg+xml" />
                <link rel="stylesheet" href="/page.css" />
            </head>
            <body>
                <main class="signin">
                    <h1>{title}</h1>
                    <p class="trouble" role="alert">{detail}</p>
                    <p><a href="/">Back to the page</a></p>
                </main>
            </body>
            </html>
            """);
    }
}
