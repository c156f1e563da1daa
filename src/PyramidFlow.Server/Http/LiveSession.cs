using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>
/// A video that is changed while it is made, over a WebSocket or one request each. Each message is answered: with the unit from which the change counts, or with the error. When the video has
/// ended, or the service stops, the socket is closed, and also where a client sends too much.
/// </summary>
internal static class LiveSession
{
    /// <summary>Messages that a socket takes.</summary>
    internal const int MostMessages = 1000;

    // What is longer than the first is refused, and what is longer than the second is not even read.
    private const int MostBytes = 64 << 10, MostBytesRead = 1 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>Adds the address.</summary>
    public static void MapLive(this IEndpointRouteBuilder routes)
    {
        routes.MapGet("/v1/videos/{id}/live", OpenAsync).ExcludeFromDescription();
        routes.MapPost("/v1/videos/{id}/live", ChangeAsync).WithName("changeVideo").WithTags("videos").WithSummary("Changes a video while it is made: another prompt, an end, or going on after all; a WebSocket at the same address takes the same messages")
            .Accepts<LiveMessage>("application/json").Produces<LiveReply>().Refuses(400, 401, 404, 409, 413).DisableAntiforgery();
    }

    private static async Task<IResult> ChangeAsync(string id, HttpContext context, IVideoJobs jobs, CancellationToken cancellationToken)
    {
        var message = new byte[MostBytes + 1];
        var length = await context.Request.Body.ReadAtLeastAsync(message, message.Length, throwOnEndOfStream: false, cancellationToken).ConfigureAwait(false);
        return Results.Json(await ChangedAsync(jobs, Owner.From(context.User), id, Read(message[..length]), cancellationToken).ConfigureAwait(false), LiveJson.Default.LiveReply);
    }

    private static async Task OpenAsync(string id, HttpContext context, IVideoJobs jobs, IHostApplicationLifetime life, CancellationToken cancellationToken)
    {
        if (!context.WebSockets.IsWebSocketRequest)
            throw ServiceFault.NoSocket();
        var owner = Owner.From(context.User);
        // A missing video must be reported before the socket opens.
        await jobs.GetAsync(owner, id, cancellationToken).ConfigureAwait(false);
        using var socket = await context.WebSockets.AcceptWebSocketAsync().ConfigureAwait(false);
        using var over = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        using var unwatched = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, life.ApplicationStopping);
        using var turn = new SemaphoreSlim(1);
        var (answering, watching) = (AnswerAllAsync(socket, turn, jobs, owner, id, over.Token), EndAsync(jobs, owner, id, unwatched.Token));
        await Task.WhenAny(answering, watching).ConfigureAwait(false);
        await unwatched.CancelAsync().ConfigureAwait(false);
        var (status, reason) = (WebSocketCloseStatus.NormalClosure, await watching.ConfigureAwait(false));
        try
        {
            if (answering.IsCompleted && await answering.ConfigureAwait(false) is { } tooMuch)
                (status, reason) = tooMuch;
            // Cancelling a read would cut the connection, so the client is told first and then has a moment to close it.
            await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
                await socket.CloseOutputAsync(status, reason, cancellationToken).ConfigureAwait(false);
            over.CancelAfter(Patience);
            await answering.ConfigureAwait(false);
            while (socket.State is WebSocketState.CloseSent)
                await socket.ReceiveAsync(new byte[4096].AsMemory(), over.Token).ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException)
        {
            // The client is gone.
        }
    }

    // Returns why the socket is closed although the client goes on; null where the client has closed it.
    private static async Task<(WebSocketCloseStatus Status, string Reason)?> AnswerAllAsync(WebSocket socket, SemaphoreSlim turn, IVideoJobs jobs, Owner owner, string id, CancellationToken cancellationToken)
    {
        for (var count = 0; await ReadAsync(socket, cancellationToken).ConfigureAwait(false) is { } message; count++)
        {
            if (message.Length > MostBytesRead)
                return (WebSocketCloseStatus.MessageTooBig, "message_too_long");
            if (count == MostMessages)
                return (WebSocketCloseStatus.PolicyViolation, "too_many_messages");
            var answer = await AnswerAsync(jobs, owner, id, message, cancellationToken).ConfigureAwait(false);
            await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            try
            {
                await socket.SendAsync(answer, WebSocketMessageType.Text, true, cancellationToken).ConfigureAwait(false);
            }
            finally
            {
                turn.Release();
            }
        }

        return null;
    }

    // Waits for the end of the video; returns the word that the socket is closed with.
    private static async Task<string> EndAsync(IVideoJobs jobs, Owner owner, string id, CancellationToken cancellationToken)
    {
        var last = VideoStatus.Queued;
        try
        {
            await foreach (var job in jobs.WatchAsync(owner, id, cancellationToken).ConfigureAwait(false))
                last = job.Status;
        }
        catch (OperationCanceledException)
        {
            return "stopping";
        }
        catch (JobException)
        {
            // It was deleted meanwhile.
        }

        return last switch { VideoStatus.Completed => "completed", VideoStatus.Failed => "failed", _ => "deleted" };
    }

    private static async Task<byte[]> AnswerAsync(IVideoJobs jobs, Owner owner, string id, byte[] message, CancellationToken cancellationToken)
    {
        string? eventId = null;
        try
        {
            var asked = Read(message);
            eventId = asked.EventId;
            return Bytes(await ChangedAsync(jobs, owner, id, asked, cancellationToken).ConfigureAwait(false));
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return Bytes(new LiveReply("error", eventId) { Error = ProblemObject.Of(Problems.Of(e)).Error });
        }
    }

    private static async Task<LiveReply> ChangedAsync(IVideoJobs jobs, Owner owner, string id, LiveMessage asked, CancellationToken cancellationToken)
    {
        var kind = asked.Type switch
        {
            "prompt" => LiveChangeKind.Prompt,
            "stop" => LiveChangeKind.Stop,
            "go_on" => LiveChangeKind.GoOn,
            _ => throw ServiceFault.ChangeUnknown(),
        };
        var answer = await jobs.ChangeAsync(owner, id, new LiveChange(kind, kind == LiveChangeKind.Prompt ? asked.Prompt : null), cancellationToken).ConfigureAwait(false);
        return new LiveReply("accepted", asked.EventId) { Change = asked.Type, FromUnit = answer.FromUnit + 1, FromSeconds = answer.FromSeconds, Units = answer.Live.Units };
    }

    private static LiveMessage Read(byte[] message)
    {
        if (message.Length > MostBytes)
            throw ServiceFault.ChangeTooLong(MostBytes);
        try
        {
            return StrictJson.Deserialize(message, LiveJson.Default.LiveMessage);
        }
        catch (MalformedTextException e)
        {
            throw ServiceFault.ChangeMalformed(e.Reason);
        }
    }

    private static byte[] Bytes(LiveReply reply) => JsonSerializer.SerializeToUtf8Bytes(reply, LiveJson.Default.LiveReply);

    // A whole message, or as much of it as is read; null when the client closes.
    private static async Task<byte[]?> ReadAsync(WebSocket socket, CancellationToken cancellationToken)
    {
        using var message = new MemoryStream();
        var buffer = new byte[4096];
        while (true)
        {
            var part = await socket.ReceiveAsync(buffer.AsMemory(), cancellationToken).ConfigureAwait(false);
            if (part.MessageType == WebSocketMessageType.Close)
                return null;
            message.Write(buffer, 0, part.Count);
            if (part.EndOfMessage || message.Length > MostBytesRead)
                return message.ToArray();
        }
    }
}

/// <summary>A message of a client.</summary>
/// <param name="Type">prompt, stop or go_on.</param>
/// <param name="Prompt">The prompt of a message of that type.</param>
/// <param name="EventId">Anything; the answer has it too.</param>
internal sealed record LiveMessage(string? Type = null, string? Prompt = null, string? EventId = null);

/// <summary>The answer to a message.</summary>
/// <param name="Type">accepted or error.</param>
/// <param name="EventId">That of the message.</param>
internal sealed record LiveReply(string Type, string? EventId)
{
    /// <summary>The type of the message that was accepted.</summary>
    public string? Change { get; init; }

    /// <summary>The unit, from 1, from which it counts.</summary>
    public int? FromUnit { get; init; }

    /// <summary>The second of the video at which that unit begins.</summary>
    public double? FromSeconds { get; init; }

    /// <summary>Number of planned units.</summary>
    public int? Units { get; init; }

    /// <summary>Why it was refused.</summary>
    public ErrorObject? Error { get; init; }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(LiveMessage))]
[JsonSerializable(typeof(LiveReply))]
internal sealed partial class LiveJson : JsonSerializerContext;
