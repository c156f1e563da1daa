using PyramidFlow.Media;
using PyramidFlow.Torch;
using static System.FormattableString;

namespace PyramidFlow.Server.Domain;

/// <summary>The errors of starting and running a service, and the reasons of failed videos.</summary>
internal static partial class ServiceFault
{
    /// <summary>Code of a damaged key file.</summary>
    public const string KeysDamagedCode = "keys_damaged";

    /// <summary>Code of processes that cannot make another video together.</summary>
    public const string ProcessesBrokenCode = "processes_broken";

    /// <summary>Code of a queue that a newer version has used.</summary>
    public const string QueueNewerCode = "queue_newer";

    // Addresses to listen on.

    public static ServiceOptionException HostInvalid(string host) =>
        new("host_invalid", $"'{host}' is no address to listen on: use 127.0.0.1, 0.0.0.0 or an address of this machine", ("host", host));

    public static ServiceOptionException HostWithoutKey(string host) =>
        new("host_without_key", $"{host} can be reached from other machines, and there is no API key yet: make one with 'pyramidflow keys add NAME', or listen on 127.0.0.1", ("host", host));

    public static ServiceOptionException ProxyWithoutKey() =>
        new("proxy_without_key", "a proxy lets other machines in, and there is no API key yet: make one with 'pyramidflow keys add NAME', or leave out --proxy");

    public static ServiceOptionException ProxyInvalid(string proxy) =>
        new("proxy_invalid", $"'{proxy}' is no address of a proxy: use one such as 127.0.0.1, or a network such as 10.0.0.0/8", ("proxy", proxy));

    public static ServiceOptionException OriginInvalid(string origin) =>
        new("origin_invalid", $"'{origin}' is no origin of pages: write such as https://app.example or http://localhost:5173, without a path", ("origin", origin));

    public static ServiceOptionException OriginsWithoutKey() =>
        new("origins_without_key", "--cors-origin '*' lets every page of the web use this service, and there is no API key yet: make one with 'pyramidflow keys add NAME', or name the origins");

    public static ServiceOptionException WebhookHostInvalid(string host) =>
        new("webhook_host_invalid", $"'{host}' is no host of webhooks: write such as hooks.example, hooks.example:8443, *.example or *", ("host", host));

    public static ServiceException WebhookSecretDamaged(string file) =>
        new("webhook_secret_damaged", $"{file} is damaged: delete it, and give receivers of webhooks their new secrets", null, ("file", file));

    // Keys.

    public static ServiceOptionException KeyNameInvalid(string name) =>
        new("key_name_invalid", $"'{name}' cannot be the name of a key: use up to 64 letters, digits, '-', '_' and '.'", ("name", name));

    public static ServiceOptionException KeyNameTaken(string name) =>
        new("key_name_taken", $"there is a key '{name}' already: remove it first, or take another name", ("name", name));

    public static ServiceException KeysDamaged(string file, Exception cause) =>
        new(KeysDamagedCode, $"{file} is damaged ({cause.Message}): mend it, or delete it and make new keys with 'pyramidflow keys add NAME'", cause, ("file", file), ("reason", cause.Message));

    // Folder and queue.

    public static ServiceException FolderUnwritable(string folder, Exception cause) =>
        new("folder_unwritable", $"the data folder {folder} cannot be written ({Sentence.First(cause)}): choose another with --data", cause,
            ("folder", folder), ("reason", Sentence.First(cause)));

    /// <summary>A database that refuses the service.</summary>
    /// <param name="place">The database, without its password.</param>
    /// <param name="option">The option that names it.</param>
    /// <param name="cause">The error of the database.</param>
    public static ServiceException QueueUnusable(string place, string option, Exception cause) =>
        new("queue_unusable", $"the queue in {place} cannot be used ({Sentence.First(cause)}): look at {option}", cause,
            ("place", place), ("option", option), ("reason", Sentence.First(cause)));

    public static ServiceException QueueNewer(long version, long known) =>
        new(QueueNewerCode, Invariant(
            $"the queue was last used by a newer version of this program (its tables are version {version}, this program knows up to {known}): start that version, or use another --data or --database"),
            null, ("version", version), ("known", known));

    /// <summary>A connection string that cannot be parsed. It may hold a password, and so may the message about it: neither is repeated.</summary>
    public static ServiceException ConnectionStringInvalid(Exception cause) =>
        new("connection_string_invalid", "the connection string of --database or PYRAMIDFLOW_DATABASE cannot be read: write such as \"Host=db;Database=videos;Username=videos\"", cause);

    // Several processes.

    /// <summary>A process that cannot begin a video which all make together.</summary>
    /// <param name="rank">The process.</param>
    /// <param name="reason">Its error.</param>
    public static ServiceException ProcessNotReady(int rank, string reason) =>
        new("process_not_ready", Invariant($"process {rank} cannot begin the video: {reason}; all processes need the same models"), null, ("rank", rank), ("reason", reason));

    /// <summary>Processes that cannot make another video together.</summary>
    public static ServiceException ProcessesBroken(Exception cause) =>
        new(ProcessesBrokenCode, $"the processes that make videos together cannot go on ({Sentence.First(cause)}): all of them end, and are to be started again", cause,
            ("reason", Sentence.First(cause)));

    // Videos.

    public static VideoError Cancelled() => new(VideoError.Cancelled, "you cancelled it");

    public static VideoError CancelledByAdministrator() => new(VideoError.Cancelled, "whoever runs this service stopped it");

    public static VideoError CancelledWithKey() => new(VideoError.Cancelled, "the key that it was asked for with was taken away");

    public static VideoError Abandoned(int attempts) =>
        new(VideoError.Abandoned, Invariant($"the program that made it died or was cut off {attempts} times in a row without getting further: ask for it again, perhaps smaller or shorter"));

    public static VideoError Unreadable(string? reason) =>
        new(VideoError.Unreadable, $"its entry in the queue cannot be read and was set aside ({reason ?? "no reason is known"}): ask for it again");

    /// <summary>The reason of a failed attempt for the owner of the video, and whether another attempt may help.</summary>
    public static (VideoError Error, bool Retry) Failed(Exception cause)
    {
        var (kind, message, retry) = cause switch
        {
            JobException or RequestException => (VideoError.Invalid, cause.Message, false),
            NonFiniteException or CheckpointException { Code: CheckpointFault.WeightNotFiniteCode } =>
                (VideoError.Internal, "the model gave numbers of which no picture can be made; whoever runs this service finds more in its log", false),
            // A file that is away may be back at the next attempt.
            CheckpointException { IsOfRequestedLora: true, Code: var code } =>
                (VideoError.Invalid, "a LoRA cannot be added to this model: ask without it; whoever runs this service finds more in its log", code is "file_missing" or "file_unreadable"),
            // A folder that was unavailable for a moment may be back at the next attempt.
            CheckpointException => (VideoError.Internal, "the model cannot be loaded: its files are damaged or incomplete; whoever runs this service finds more in its log", true),
            ServiceException or Torch.Distributed.ProcessGroupException =>
                (VideoError.Internal, "the processes that make videos together could not make it; whoever runs this service finds more in its log", true),
            // Users must not see paths of this machine; the log has them.
            MediaException or IOException or UnauthorizedAccessException => (VideoError.Storage, "the video could not be encoded or written: the disk may be full", true),
            _ => (VideoError.Internal, "the video could not be made because of a fault in this program; whoever runs this service finds more in its log", true),
        };
        return (new VideoError(kind, message) { Reason = (cause as PyramidFlowException)?.Code }, retry);
    }
}

/// <summary>Sentences from messages.</summary>
internal static class Sentence
{
    /// <summary>Formats a message as a sentence with a capital letter and a full stop.</summary>
    public static string Full(string message)
    {
        message = message.Trim();
        if (message.Length == 0)
            return message;
        var end = message[^1] is '.' or '!' or '?' ? "" : ".";
        return char.ToUpperInvariant(message[0]) + message[1..] + end;
    }

    /// <summary>Returns the first line of an exception's message, without a full stop, as a part of a sentence.</summary>
    public static string First(Exception fault) => fault.Message.Split('\n', 2)[0].Trim().TrimEnd('.');
}
