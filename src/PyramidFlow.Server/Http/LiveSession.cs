using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Server.Domain;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Server.Http;

/// <summary>
/// A video that is changed while it is made, over a WebSocket. Each message is answered: with the unit from which the change counts, or with the error that REST would give. When the video has
/// ended, or the service stops, the socket is closed.
/// </summary>
internal static class LiveSession
{
    private const int MostBytes = 64 << 10;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <summary>Adds the address.</summary>
    public static void MapLive(this IEndpointRouteBuilder routes) => routes.MapGet("/v1/videos/{id}/live", OpenAsync).ExcludeFromDescription();

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
        var reason = await watching.ConfigureAwait(false);
        try
        {
            // Cancelling a read would cut the connection, so the client is told first and then has a moment to close it.
            await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            if (socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
                await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, reason, cancellationToken).ConfigureAwait(false);
            over.CancelAfter(Patience);
            await answering.ConfigureAwait(false);
        }
        catch (Exception e) when (e is OperationCanceledException or WebSocketException)
        {
            // The client is gone.
        }
    }

    private static async Task AnswerAllAsync(WebSocket socket, SemaphoreSlim turn, IVideoJobs jobs, Owner owner, string id, CancellationToken cancellationToken)
    {
        while (await ReadAsync(socket, cancellationToken).ConfigureAwait(false) is { } message)
        {
            var answer = await AnswerAsync(jobs, owner, id, message, cancellationToken).ConfigureAwait(false);
            await turn.WaitAsync(cancellationToken).ConfigureAwait(false);
            await socket.SendAsync(answer, WebSocketMessageType.Text, true, cancellationToken).ConfigureAwait(false);
            turn.Release();
        }
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
            var kind = asked.Type switch
            {
                "prompt" => LiveChangeKind.Prompt,
                "stop" => LiveChangeKind.Stop,
                "go_on" => LiveChangeKind.GoOn,
                _ => throw ServiceFault.ChangeUnknown(),
            };
            var answer = await jobs.ChangeAsync(owner, id, new LiveChange(kind, kind == LiveChangeKind.Prompt ? asked.Prompt : null), cancellationToken).ConfigureAwait(false);
            return Bytes(new LiveReply("accepted", eventId) { Change = asked.Type, FromUnit = answer.FromUnit + 1, FromSeconds = answer.FromSeconds, Units = answer.Live.Units });
        }
        catch (Exception e) when (e is not OperationCanceledException)
        {
            return Bytes(new LiveReply("error", eventId) { Error = ProblemObject.Of(Problems.Of(e)).Error });
        }
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

    // A whole message, of which at most one byte more than allowed is kept; null when the client closes.
    private static async Task<byte[]?> ReadAsync(WebSocket socket, CancellationToken cancellationToken)
    {
        using var message = new MemoryStream();
        var buffer = new byte[4096];
        while (true)
        {
            var part = await socket.ReceiveAsync(buffer.AsMemory(), cancellationToken).ConfigureAwait(false);
            if (part.MessageType == WebSocketMessageType.Close)
                return null;
            message.Write(buffer, 0, (int)Math.Min(part.Count, MostBytes + 1 - message.Length));
            if (part.EndOfMessage)
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
