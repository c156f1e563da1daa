using System.Diagnostics;
using PyramidFlow.Server.Worker;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Logs one line for each request when it has ended: address of the visitor, name of the key, method, path, status and time. Keys, tokens of links, queries and headers are never logged; characters that could break
/// a line are escaped.
/// </summary>
internal sealed partial class AccessLog(RequestDelegate next, ILogger<AccessLog> log)
{
    private const int LongestPath = 200, LongestMethod = 20, Aborted = 499;

    public async Task InvokeAsync(HttpContext context)
    {
        var (start, path) = (Stopwatch.GetTimestamp(), LinkTokens.Hide(context.Request.Path));
        var hasFailed = true;
        try
        {
            await next(context).ConfigureAwait(false);
            hasFailed = false;
        }
        finally
        {
            var (isGone, hasStarted, status) = (context.RequestAborted.IsCancellationRequested, context.Response.HasStarted, context.Response.StatusCode);
            // The visitor left before the answer began.
            if (isGone && !hasStarted)
                status = Aborted;
            else if (hasFailed && !isGone)
                status = StatusCodes.Status500InternalServerError;
            LogRequest(log, context.Connection.RemoteIpAddress?.ToString() ?? "-", context.User.Identity is { IsAuthenticated: true, Name: { } name } ? name : "-", StrictText.OneLine(context.Request.Method, LongestMethod),
                StrictText.OneLine(path, LongestPath), status, Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Address} {Key} {Method} {Path} {Status} {Milliseconds:F0} ms")]
    private static partial void LogRequest(ILogger log, string address, string key, string method, string path, int status, double milliseconds);
}

/// <summary>Gives each request an id, which its answer has in <c>x-request-id</c>, where OpenAI's clients look for it, and lines of the log about a fault have too.</summary>
internal static class RequestIds
{
    /// <summary>The header with the id.</summary>
    public const string Header = "x-request-id";

    public static void UseRequestIds(this WebApplication app) => app.Use((context, next) =>
    {
        context.TraceIdentifier = $"req_{Guid.NewGuid():N}";
        context.Response.Headers[Header] = context.TraceIdentifier;
        return next(context);
    });
}
