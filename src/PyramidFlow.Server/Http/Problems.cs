using System.Data.Common;
using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using PyramidFlow.Server.Domain;
using PyramidFlow.Server.Worker;
using PyramidFlow.Torch;

namespace PyramidFlow.Server.Http;

/// <summary>Converts exceptions to problem details; only unexpected ones are logged as errors.</summary>
internal sealed partial class Problems(RequestDelegate next, ILogger<Problems> log)
{
    private const int SqliteFull = 13, UsualRetrySeconds = 5, LongestClientPause = 60;

    public async Task InvokeAsync(HttpContext context)
    {
        try
        {
            await next(context).ConfigureAwait(false);
            // Some refusals of the framework have no body; the one of a range keeps the content type of the file.
            var response = context.Response;
            if (!response.HasStarted && response.StatusCode >= 400 && response.ContentLength is null or 0 && (response.ContentType is null || response.StatusCode == 416))
                await WriteAsync(context, OfStatus(response.StatusCode)).ConfigureAwait(false);
        }
        catch (Exception e) when (context.RequestAborted.IsCancellationRequested)
        {
            LogGone(log, LinkTokens.Hide(context.Request.Path), e.GetType().Name);
        }
        catch (Exception e)
        {
            var fault = Of(e);
            if (fault.Kind == JobFaultKind.Internal)
                LogUnexpected(log, e, context.Request.Method, LinkTokens.Hide(context.Request.Path), context.TraceIdentifier);
            else if (fault.Kind is JobFaultKind.Unavailable or JobFaultKind.Storage)
                LogUnavailable(log, LinkTokens.Hide(context.Request.Path), (fault.InnerException as PyramidFlowException ?? e).Message, context.TraceIdentifier);
            if (context.Response.HasStarted)
                context.Abort();
            else
                await WriteAsync(context, fault).ConfigureAwait(false);
        }
    }

    /// <summary>Writes an error as the response; a browser that accepts HTML gets a page.</summary>
    public static async Task WriteAsync(HttpContext context, JobException fault)
    {
        var problem = ProblemObject.Of(fault);
        context.Response.StatusCode = problem.Status;
        if ((fault.RetryAfterSeconds ?? (fault.Kind is JobFaultKind.TooMany or JobFaultKind.Unavailable ? UsualRetrySeconds : null)) is { } seconds)
            context.Response.Headers.RetryAfter = seconds.ToString(CultureInfo.InvariantCulture);
        // OpenAI's clients repeat what is refused with 409 or 429 at once, although nothing has changed by then.
        if (fault.Kind == JobFaultKind.NotReady || fault.RetryAfterSeconds > LongestClientPause)
            context.Response.Headers["x-should-retry"] = "false";
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

    /// <summary>The refusal that an exception becomes.</summary>
    public static JobException Of(Exception e) => e switch
    {
        JobException fault => fault,
        RequestException fault => ServiceFault.Request(fault, null),
        ServiceException { Code: ServiceFault.KeysDamagedCode } fault => ServiceFault.KeysUnreadable(fault),
        BadHttpRequestException { StatusCode: 413 } => ServiceFault.RequestTooLarge(e),
        BadHttpRequestException { StatusCode: 408 } => ServiceFault.RequestTooSlow(e),
        BadHttpRequestException bad => ServiceFault.HttpMalformed(bad.StatusCode, e),
        InvalidDataException or JsonException => ServiceFault.BodyDamaged(e),
        Microsoft.Data.Sqlite.SqliteException { SqliteErrorCode: SqliteFull } => ServiceFault.Storage(e),
        DbException or TimeoutException => ServiceFault.QueueUnavailable(e),
        IOException or UnauthorizedAccessException or Media.MediaException => ServiceFault.Storage(e),
        _ => ServiceFault.ProgramFailed(e),
    };

    private static JobException OfStatus(int status) => status switch
    {
        404 => ServiceFault.AddressUnknown(),
        405 => ServiceFault.MethodUnknown(),
        415 => ServiceFault.MediaTypeUnsupported(),
        416 => ServiceFault.RangeBeyondEnd(),
        _ => ServiceFault.Refused(status),
    };

    [LoggerMessage(Level = LogLevel.Debug, Message = "{Path}: the client went away ({Fault})")]
    private static partial void LogGone(ILogger log, string path, string fault);

    [LoggerMessage(Level = LogLevel.Error, Message = "{Method} {Path} failed ({RequestId})")]
    private static partial void LogUnexpected(ILogger log, Exception fault, string method, string path, string requestId);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path}: {Reason} ({RequestId})")]
    private static partial void LogUnavailable(ILogger log, string path, string reason, string requestId);
}

/// <summary>The reason of a refusal: problem details of RFC 9457, repeated in the form that OpenAI's clients read.</summary>
/// <param name="Title">The kind of fault in a few words.</param>
/// <param name="Status">The HTTP status.</param>
/// <param name="Detail">One sentence for people, with the fix; its words may change.</param>
/// <param name="Error">The part that OpenAI's clients read.</param>
internal sealed record ProblemObject(string Title, int Status, string Detail, ErrorObject Error)
{
    public const string ContentType = "application/problem+json";

    public string Type { get; } = "about:blank";

    public static ProblemObject Of(JobException fault)
    {
        var status = fault.HttpStatus ?? StatusOf(fault.Kind);
        return new ProblemObject(Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status), status, fault.Message, ErrorObject.Of(fault, status));
    }

    private static int StatusOf(JobFaultKind kind) => kind switch
    {
        JobFaultKind.Invalid or JobFaultKind.Malformed or JobFaultKind.Refused => 400,
        JobFaultKind.NoKey => 401,
        JobFaultKind.WrongOrigin => 403,
        JobFaultKind.NotFound => 404,
        JobFaultKind.MethodNotAllowed => 405,
        JobFaultKind.TooSlow => 408,
        JobFaultKind.NotReady => 409,
        JobFaultKind.TooLarge => 413,
        JobFaultKind.Unsupported => 415,
        JobFaultKind.Range => 416,
        JobFaultKind.WrongHost => 421,
        JobFaultKind.Conflict => 422,
        JobFaultKind.TooMany or JobFaultKind.RateLimit => 429,
        JobFaultKind.Internal => 500,
        JobFaultKind.Storage => 507,
        _ => 503,
    };
}

/// <summary>A refusal as OpenAI's clients read it, with the cause for programs.</summary>
/// <param name="Message">The sentence of the detail.</param>
/// <param name="Type">invalid_request_error or server_error.</param>
/// <param name="Code">Kind of the refusal, such as not_found or invalid.</param>
/// <param name="Param">Field, query parameter or header at fault, or null.</param>
/// <param name="Reason">Stable name of the cause, such as video_unknown or size_not_multiple.</param>
/// <param name="Parameters">The values that the sentence is about, by stable names.</param>
internal sealed record ErrorObject(string Message, string Type, string Code, string? Param, string Reason, JsonObject Parameters)
{
    // The comments above are the descriptions in the OpenAPI document.

    public static ErrorObject Of(JobException fault, int status) => new(fault.Message, status < 500 ? "invalid_request_error" : "server_error",
        JsonNamingPolicy.SnakeCaseLower.ConvertName(fault.Kind.ToString()), fault.Field, fault.Code,
        new JsonObject(fault.Parameters.Select(parameter => KeyValuePair.Create(parameter.Key, Json(parameter.Value)))));

    // Numbers stay numbers; JSON has none that are not finite.
    private static JsonNode? Json(object? value) => value switch
    {
        null => null,
        bool flag => JsonValue.Create(flag),
        int whole => JsonValue.Create(whole),
        long whole => JsonValue.Create(whole),
        double number when double.IsFinite(number) => JsonValue.Create(number),
        _ => JsonValue.Create(Convert.ToString(value, CultureInfo.InvariantCulture)),
    };
}

/// <summary>Adds refusals to the OpenAPI document.</summary>
internal static class RefusalDescriptions
{
    /// <summary>Describes the refusals of an endpoint, or of a group of them.</summary>
    public static TBuilder Refuses<TBuilder>(this TBuilder endpoint, params ReadOnlySpan<int> statuses)
        where TBuilder : IEndpointConventionBuilder
    {
        foreach (var status in statuses)
            endpoint.WithMetadata(new ProducesResponseTypeMetadata(status, typeof(ProblemObject), [ProblemObject.ContentType]));
        return endpoint;
    }
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
        var (title, detail) = (HtmlEncoder.Default.Encode(problem.Title), HtmlEncoder.Default.Encode(Sentence.Full(problem.Detail)));
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
