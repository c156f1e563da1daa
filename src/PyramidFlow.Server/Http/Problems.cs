using System.Data.Common;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Storage;

namespace PyramidFlow.Server.Http;

/// <summary>Converts exceptions to problem details; only unexpected ones are logged as errors.</summary>
internal sealed partial class Problems(RequestDelegate next, ILogger<Problems> log)
{
    private const int SqliteFull = 13;
    private const string DiskFull = "nothing can be written here: the disk of this service may be full";

    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context).ConfigureAwait(false);
            // Some refusals of the framework have no body; the one of a range keeps the content type of the file.
            var response = context.Response;
            if (!response.HasStarted && response.StatusCode >= 400 && response.ContentLength is null or 0 && (response.ContentType is null || response.StatusCode == 416))
                await WriteAsync(context, ForStatus(response.StatusCode)).ConfigureAwait(false);
        }
        catch (Exception e) when (context.RequestAborted.IsCancellationRequested)
        {
            LogGone(log, context.Request.Path, e.GetType().Name);
        }
        catch (Exception e)
        {
            var problem = For(e);
            if (problem.Status == 500)
                LogUnexpected(log, e, context.Request.Method, context.Request.Path);
            else if (problem.Status > 500)
                LogUnavailable(log, context.Request.Path, e.Message);
            if (context.Response.HasStarted)
                context.Abort();
            else
                await WriteAsync(context, problem).ConfigureAwait(false);
        }
    }

    /// <summary>Writes a problem as the response; a browser that accepts HTML gets a page.</summary>
    public static async Task WriteAsync(HttpContext context, ProblemObject problem)
    {
        context.Response.StatusCode = problem.Status;
        if (problem.RetryAfterSeconds is { } seconds)
            context.Response.Headers.RetryAfter = seconds.ToString(System.Globalization.CultureInfo.InvariantCulture);
        context.Response.ContentLength = null;
        if (ProblemPage.IsFor(context.Request))
        {
            context.Response.ContentType = "text/html; charset=utf-8";
            await context.Response.Body.WriteAsync(ProblemPage.Render(problem), context.RequestAborted).ConfigureAwait(false);
            return;
        }

        context.Response.ContentType = ProblemObject.ContentType;
        await JsonSerializer.SerializeAsync(context.Response.Body, problem, RestJson.Default.ProblemObject, context.RequestAborted).ConfigureAwait(false);
    }

    private static ProblemObject For(Exception e) => e switch
    {
        JobException job => ProblemObject.Create(Status(job.Fault), job.Message, JsonNamingPolicy.SnakeCaseLower.ConvertName(job.Fault.ToString()), job.Parameter)
            with { RetryAfterSeconds = job.RetryAfterSeconds ?? (job.Fault is JobFault.TooMany or JobFault.Unavailable ? 5 : null) },
        KeysException => ProblemObject.Create(503, "the keys of this service cannot be read; whoever runs it finds more in its log", "unavailable"),
        BadHttpRequestException { StatusCode: 413 } => ProblemObject.Create(413, "the request is larger than this service takes: send a smaller picture or video", "too_large"),
        BadHttpRequestException { StatusCode: 408 } => ProblemObject.Create(408, "the request came too slowly: send it again", "too_slow"),
        BadHttpRequestException bad => ProblemObject.Create(bad.StatusCode, "the request is not well-formed HTTP, or ended before it was whole", "malformed"),
        InvalidDataException or JsonException => ProblemObject.Create(400, "the body of the request is damaged or cut short", "malformed"),
        Microsoft.Data.Sqlite.SqliteException { SqliteErrorCode: SqliteFull } => ProblemObject.Create(507, DiskFull, "storage"),
        DbException or TimeoutException => ProblemObject.Create(503, "the queue cannot be reached just now: try again in a moment", "unavailable") with { RetryAfterSeconds = 5 },
        IOException or UnauthorizedAccessException or Media.MediaException => ProblemObject.Create(507, DiskFull, "storage"),
        _ => ProblemObject.Create(500, "this program failed at the request; whoever runs it finds more in its log", "internal"),
    };

    private static int Status(JobFault fault) => fault switch
    {
        JobFault.Invalid => 400,
        JobFault.NoKey => 401,
        JobFault.NotFound => 404,
        JobFault.NotReady => 409,
        JobFault.TooLarge => 413,
        JobFault.Unsupported => 415,
        JobFault.TooMany or JobFault.RateLimit => 429,
        JobFault.Conflict => 422,
        _ => 503,
    };

    private static ProblemObject ForStatus(int status) => status switch
    {
        404 => ProblemObject.Create(404, "there is nothing at this address: /openapi/v1.json lists what there is", "not_found"),
        405 => ProblemObject.Create(405, "this address does not know this method: /openapi/v1.json lists what there is", "method_not_allowed"),
        415 => ProblemObject.Create(415, "send the request as application/json or multipart/form-data", "unsupported"),
        416 => ProblemObject.Create(416, "the range asked for lies beyond the end of the file", "range"),
        _ => ProblemObject.Create(status, "the request was refused", "refused"),
    };

    [LoggerMessage(Level = LogLevel.Debug, Message = "{Path}: the client went away ({Fault})")]
    private static partial void LogGone(ILogger log, string path, string fault);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Method} {Path} failed")]
    private static partial void LogUnexpected(ILogger log, Exception fault, string method, string path);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path}: {Reason}")]
    private static partial void LogUnavailable(ILogger log, string path, string reason);
}

/// <summary>The reason of a refusal: problem details of RFC 9457, repeated in the form that OpenAI's clients read.</summary>
/// <param name="Title">The kind of fault in a few words.</param>
/// <param name="Status">The HTTP status.</param>
/// <param name="Detail">One sentence for people, with the fix.</param>
/// <param name="Error">The part that OpenAI's clients read.</param>
internal sealed record ProblemObject(string Title, int Status, string Detail, ProblemObject.ErrorObject Error)
{
    public const string ContentType = "application/problem+json";

    public string Type { get; } = "about:blank";

    [JsonIgnore]
    public int? RetryAfterSeconds { get; init; }

    public static ProblemObject Create(int status, string detail, string code, string? parameter = null) => new(
        Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status), status, detail,
        new ErrorObject(detail, status < 500 ? "invalid_request_error" : "server_error", code, parameter));

    internal sealed record ErrorObject(string Message, string Type, string Code, string? Param);
}

/// <summary>A refusal as a page, for people who reach it by a form or a link.</summary>
internal static class ProblemPage
{
    /// <summary>Whether a browser requests a page. Paths below <c>/v1</c> are for programs.</summary>
    public static bool IsFor(HttpRequest request) =>
        !request.Path.StartsWithSegments("/v1", StringComparison.Ordinal) && request.Headers.Accept.ToString().Contains("text/html", StringComparison.OrdinalIgnoreCase);

    /// <summary>Renders the page.</summary>
    public static byte[] Render(ProblemObject problem)
    {
        var (title, detail) = (HtmlEncoder.Default.Encode(problem.Title), HtmlEncoder.Default.Encode(JobFaults.FullSentence(problem.Detail)));
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
