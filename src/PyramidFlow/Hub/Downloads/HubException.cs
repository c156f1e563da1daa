using System.Globalization;
using System.Net;
using PyramidFlow.Torch;

namespace PyramidFlow.Hub.Downloads;

/// <summary>
/// A model hub refused a request, failed or sent invalid data, or the target of a download is impossible.
/// <see cref="PyramidFlowException.Parameters"/> names the <c>repository</c>, <c>file</c> or <c>host</c> concerned; the message says how to fix it.
/// </summary>
public sealed class HubException : PyramidFlowException
{
    /// <summary>Creates the error.</summary>
    /// <param name="code">Stable name of the cause, such as <c>no_such_variant</c>.</param>
    /// <param name="message">One sentence for the user.</param>
    /// <param name="inner">The cause, or null.</param>
    /// <param name="parameters">The values that the sentence is about.</param>
    public HubException(string code, string message, Exception? inner = null, params ReadOnlySpan<(string Name, object? Value)> parameters)
        : base(code, message, inner, parameters)
    {
    }
}

/// <summary>All errors of downloads: the only place of their codes and sentences.</summary>
internal static class HubFault
{
    // Names that the user gives.

    public static HubException BadAddress(string address, string standard) =>
        new("bad_address", $"'{address}' is not the address of a hub: set HF_ENDPOINT to one such as {standard}, or unset it", null, ("address", address));

    // The token is secret, so no parameter holds it.
    public static HubException BadToken() =>
        new("bad_token", "the access token is empty or holds spaces or other characters that no token has: set HF_TOKEN again");

    public static HubException TokenUnreadable(string file, Exception inner) =>
        new("token_unreadable", $"the access token in {file} cannot be read: {inner.Message}; set HF_TOKEN, or change the file's permissions", inner, ("file", file));

    public static HubException BadRepository(string repository) =>
        new("bad_repository", $"'{repository}' is not the name of a repository: use OWNER/NAME, such as rain1011/pyramid-flow-miniflux", null, ("repository", repository));

    public static HubException BadRevision() =>
        new("bad_revision", "the revision is empty or holds control characters: use a branch, a tag or a commit");

    public static HubException NoSuchVariant(string repository, string variant, IEnumerable<string> known) =>
        new("no_such_variant", $"{repository} has no variant '{variant}': use {string.Join(", ", known)}", null,
            ("repository", repository), ("variant", variant), ("known", string.Join(", ", known)));

    // Contents of a repository.

    public static HubException NoCheckpoint(string repository) =>
        new("no_checkpoint", $"{repository} holds no diffusion_transformer folder: it is not a checkpoint of Pyramid Flow", null, ("repository", repository));

    public static HubException Incomplete(string repository, string part) =>
        new("incomplete", $"{repository} has no {part}: it is not a complete checkpoint of Pyramid Flow, choose another repository", null,
            ("repository", repository), ("part", part));

    public static HubException TooManyFiles(string repository, int most) =>
        new("too_many_files", $"{repository} lists more than {most} files: it is not a model", null, ("repository", repository), ("most", most));

    public static HubException EndlessList(string repository) =>
        new("endless_list", $"the list of files of {repository} has no end: look at HF_ENDPOINT", null, ("repository", repository));

    public static HubException DamagedList(string repository, string reason, Exception inner) =>
        new("damaged_list", $"the list of files of {repository} is damaged: {reason}; try again, or look at HF_ENDPOINT", inner, ("repository", repository));

    /// <summary>The error for a file whose path leads out of the folder.</summary>
    /// <param name="repository">The repository.</param>
    /// <param name="shown">The path without control characters.</param>
    public static HubException UnsafePath(string repository, string shown) =>
        new("unsafe_path", $"{repository} lists a file called \"{shown}\", which could be written outside the folder: do not use this repository", null,
            ("repository", repository), ("file", shown));

    public static HubException AbsurdSize(string repository, string file, long bytes) =>
        new("absurd_size", $"{repository} lists {file} with {bytes} bytes, which no weights have: do not use this repository", null,
            ("repository", repository), ("file", file), ("bytes", bytes));

    // Answers of a hub.

    public static HubException RedirectLoop(string host, string what, string repository) =>
        new("redirect_loop", $"{host} sends {what} of {repository} round in a circle: look at HF_ENDPOINT", null, ("host", host), ("repository", repository));

    public static HubException UnsafeRedirect(string host, string repository) =>
        new("unsafe_redirect", $"{host} sends {repository} on to an address that is not safe: look at HF_ENDPOINT", null, ("host", host), ("repository", repository));

    /// <summary>The error for a status that another attempt does not change.</summary>
    /// <param name="status">The HTTP status.</param>
    /// <param name="host">The host that answered.</param>
    /// <param name="isHub">Whether it is the hub itself, not a host that the hub redirects to.</param>
    /// <param name="hub">The hub.</param>
    /// <param name="source">The repository.</param>
    /// <param name="what">What was asked for.</param>
    public static HubException Refused(HttpStatusCode status, string host, bool isHub, HubEndpoint hub, HubSource source, string what)
    {
        var page = new Uri(hub.Address, source.Repository);
        var (code, message) = status switch
        {
            HttpStatusCode.Unauthorized when isHub && hub.Token is null => ("token_needed",
                $"{host} gives {source.Repository} to known users only, or has no such repository (401): check the name, accept its licence at {page}, and set HF_TOKEN to an access token of yours"),
            HttpStatusCode.Unauthorized when isHub => ("token_refused", $"{host} refuses your access token (401): make a new one and set HF_TOKEN to it"),
            HttpStatusCode.Forbidden when isHub => ("licence_needed",
                $"{host} does not let you read {source.Repository} (403): accept its licence at {page}, and set HF_TOKEN to a token that may read it"),
            HttpStatusCode.NotFound when isHub => ("not_found",
                $"{host} has no {what} of {source.Repository} at revision {source.Revision} (404): check the name at {page}"),
            _ => ("refused", string.Create(CultureInfo.InvariantCulture, $"{host} refuses {what} of {source.Repository} ({(int)status}): try again later")),
        };
        return new HubException(code, message, null, ("host", host), ("repository", source.Repository), ("status", (int)status));
    }

    public static HubException GivenUp(TransientException fault, int attempts) =>
        new("given_up", $"{fault.Message}, {attempts} times in a row: try again later; what is there is kept", fault, ("attempts", attempts), ("status", fault.Status));

    public static HubException LongWait(TransientException fault, TimeSpan wait, string shown) =>
        new("long_wait", $"{fault.Message} and asks to wait {shown}: try again then; what is there is kept", fault,
            ("minutes", (int)Math.Ceiling(wait.TotalMinutes)), ("status", fault.Status));

    public static HubException WrongLength(string host, string file, long sent, long listed) =>
        new("wrong_length", string.Create(CultureInfo.InvariantCulture,
            $"{host} sends {sent} bytes of {file} where it lists {listed}: try again later, or set HF_ENDPOINT to another mirror"), null,
            ("host", host), ("file", file), ("sent", sent), ("listed", listed));

    public static HubException WrongHash(string host, string file, string repository) =>
        new("wrong_hash", $"{file} of {repository} does not have the hash that {host} lists, twice in a row: try again later, or set HF_ENDPOINT to another mirror", null,
            ("host", host), ("file", file), ("repository", repository));

    // The folder of a download.

    /// <summary>The error for a disk without enough space.</summary>
    /// <param name="folder">Folder of the download.</param>
    /// <param name="shortage">The sentence of <see cref="DiskSpace"/>.</param>
    public static HubException DiskTooSmall(string folder, string shortage) => new("disk_too_small", shortage, null, ("folder", folder));

    public static HubException FileIsFolder(string path) =>
        new("file_is_folder", $"{path} is a folder where a file belongs: remove it, or choose another place", null, ("path", path));

    public static HubException FolderIsFile(string path) =>
        new("folder_is_file", $"{path} is a file where a folder belongs: remove it, or choose another place", null, ("path", path));

    public static HubException FolderIsLink(string path, string target) =>
        new("folder_is_link", $"{path} is a link to {target}, outside the checkpoint: remove it, or choose another place", null, ("path", path), ("target", target));

    public static HubException InUse(string path, Exception inner) =>
        new("in_use", $"{path} is in use: wait until the other download has ended", inner, ("path", path));
}
