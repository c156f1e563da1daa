using static System.FormattableString;

namespace PyramidFlow.Server.Domain;

/// <content>The errors of changing a video while it is made, and of sharing and keeping videos.</content>
internal static partial class ServiceFault
{
    public static JobException NotChangeable(VideoJob job) => job.Status switch
    {
        VideoStatus.Queued => new(JobFaultKind.NotReady, "video_queued", "this video still waits in the queue: change it when it is being made, or cancel it and ask for another"),
        VideoStatus.InProgress => new(JobFaultKind.NotReady, "video_not_begun", "no part of this video has begun yet: try again in a moment"),
        _ => new(JobFaultKind.NotReady, "video_ended", "this video has ended: extend it, or use its settings for another one"),
    };

    public static JobException MadeTogether() =>
        new(JobFaultKind.NotReady, "video_made_together", "several processes make this video together, which take no changes: extend it when it is done, or cancel it and ask for another");

    public static JobException ChangeTooLate() =>
        new(JobFaultKind.NotReady, "change_too_late", "the last part of this video is being made: extend the video when it is done");

    public static JobException NoEndAhead() => new(JobFaultKind.NotReady, "no_end_ahead", "this video was not stopped, so that it goes on anyway");

    public static JobException ChangeUnknown() =>
        new(JobFaultKind.Invalid, "change_unknown", "type is prompt, stop or go_on: write such as {\"type\": \"prompt\", \"prompt\": \"a blue ball\"}") { Field = "type" };

    public static JobException ChangeWithoutPrompt() => new(JobFaultKind.Invalid, "prompt_empty", "the next prompt is empty: say what is to be seen") { Field = "prompt" };

    public static JobException ChangeMalformed(string reason) => new(JobFaultKind.Malformed, "body_malformed", $"the message cannot be read: {reason}", null, ("reason", reason));

    public static JobException ChangeTooLong(int most) =>
        new(JobFaultKind.TooLarge, "message_too_long", Invariant($"the message is longer than {most >> 10} KiB: shorten it"), null, ("most_bytes", most));

    public static JobException LinkEnded(Exception cause) =>
        new(JobFaultKind.NotFound, "link_ended", "this link has ended: its time is over, what it shows was deleted, or it was taken back; ask for a new one", cause);

    public static JobException ShareTimeInvalid(int least, int most) =>
        new(JobFaultKind.Invalid, "share_time_invalid", Invariant($"expires_in is a whole number of seconds, {least} to {most}"), null, ("least", least), ("most", most)) { Field = "expires_in" };

    public static JobException ArchiveOfNone(int most) =>
        new(JobFaultKind.Invalid, "archive_of_none", Invariant($"ids names 1 to {most} videos with commas between them"), null, ("most", most)) { Field = "ids" };

    public static JobException NoSocket() =>
        new(JobFaultKind.Malformed, "no_websocket", "this address takes WebSockets: connect to it with ws:// or wss://, or send each change by POST");
}
