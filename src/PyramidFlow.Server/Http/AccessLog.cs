using System.Diagnostics;

namespace PyramidFlow.Server.Http;

/// <summary>
/// Logs one line for each request when it has ended: address of the visitor, name of the key, method, path, status and time. Keys, queries and headers are never logged; characters that could break
/// a line are escaped.
/// </summary>
internal sealed partial class AccessLog(RequestDelegate next, ILogger<AccessLog> log)
{
    private const int LongestPath = 200, Aborted = 499;

    public async Task InvokeAsync(HttpContext context)
    {
        var (start, path) = (Stopwatch.GetTimestamp(), context.Request.Path.ToUriComponent());
        try
        {
            await next(context).ConfigureAwait(false);
        }
        finally
        {
            // Nothing was answered to a visitor who has gone before.
            var status = context.RequestAborted.IsCancellationRequested && !context.Response.HasStarted ? Aborted : context.Response.StatusCode;
            LogRequest(log, context.Connection.RemoteIpAddress?.ToString() ?? "-", context.User.Identity is { IsAuthenticated: true, Name: { } name } ? name : "-", context.Request.Method,
                path.Length > LongestPath ? path[..LongestPath] + "..." : path, status, Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        }
    }

    [LoggerMessage(Level = LogLevel.Information, Message = "{Address} {Key} {Method} {Path} {Status} {Milliseconds:F0} ms")]
    private static partial void LogRequest(ILogger log, string address, string key, string method, string path, int status, double milliseconds);
}
