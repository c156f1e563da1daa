using System.Text.RegularExpressions;

namespace PyramidFlow.Hub.Downloads;

/// <summary>Address of a Hugging Face hub or mirror, with an access token.</summary>
internal sealed class HubEndpoint
{
    private const string Standard = "https://huggingface.co";

    /// <summary>Creates an endpoint.</summary>
    /// <param name="address">HTTP or HTTPS address.</param>
    /// <param name="token">Access token, sent to this host only; may be null.</param>
    /// <exception cref="HubException">The address is invalid, or the token contains invalid characters.</exception>
    public HubEndpoint(string address, string? token = null)
    {
        if (!Uri.TryCreate(address.TrimEnd('/') + "/", UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
            throw HubFault.BadAddress(address, Standard);
        if (token is not null && (token.Length == 0 || token.Any(c => c is <= ' ' or > '~')))
            throw HubFault.BadToken();
        (Address, Token) = (uri, token);
    }

    /// <summary>Address; ends with a slash.</summary>
    public Uri Address { get; }

    internal string? Token { get; }

    /// <summary>
    /// Reads the endpoint from environment variables: the address from <c>HF_ENDPOINT</c>; the token from <c>HF_TOKEN</c>,
    /// <c>HUGGING_FACE_HUB_TOKEN</c>, the file <c>HF_TOKEN_PATH</c>, or <c>token</c> in <c>HF_HOME</c> (<c>~/.cache/huggingface</c>).
    /// </summary>
    /// <param name="variable">Returns the value of a variable; null reads the process environment.</param>
    /// <exception cref="HubException">A variable has an invalid value.</exception>
    public static HubEndpoint FromEnvironment(Func<string, string?>? variable = null)
    {
        variable ??= Environment.GetEnvironmentVariable;
        return new HubEndpoint(Set("HF_ENDPOINT") ?? Standard, Set("HF_TOKEN") ?? Set("HUGGING_FACE_HUB_TOKEN") ?? TokenOfFile());

        string? Set(string name) => variable(name)?.Trim() is { Length: > 0 } value ? value : null;

        string? TokenOfFile()
        {
            var cache = Set("XDG_CACHE_HOME") ?? Path.Combine(Set("HOME") ?? Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
            var file = Set("HF_TOKEN_PATH") ?? Path.Combine(Set("HF_HOME") ?? Path.Combine(cache, "huggingface"), "token");
            try
            {
                return File.Exists(file) && File.ReadAllText(file).Trim() is { Length: > 0 } token ? token : null;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw HubFault.TokenUnreadable(file, e);
            }
        }
    }

    /// <summary>Whether an address is on this host, and the token may be sent to it.</summary>
    internal bool Owns(Uri address) => address.Scheme == Address.Scheme && address.Authority == Address.Authority;
}

/// <summary>A repository on a hub at one revision.</summary>
internal sealed partial record HubSource
{
    /// <summary>Creates a reference to a repository.</summary>
    /// <param name="repository">OWNER/NAME.</param>
    /// <param name="revision">Branch, tag or commit.</param>
    /// <exception cref="HubException">The repository or revision is not a valid name.</exception>
    public HubSource(string repository, string revision = "main")
    {
        if (!Names().IsMatch(repository) || repository.Contains("..", StringComparison.Ordinal))
            throw HubFault.BadRepository(repository);
        if (revision.Length == 0 || revision.Any(char.IsControl))
            throw HubFault.BadRevision();
        (Repository, Revision) = (repository, revision);
    }

    /// <summary>OWNER/NAME.</summary>
    public string Repository { get; }

    /// <summary>Branch, tag or commit.</summary>
    public string Revision { get; }

    /// <summary>Address of the list of files, relative to the hub.</summary>
    internal string ListAddress => $"api/models/{Repository}/tree/{Uri.EscapeDataString(Revision)}?recursive=1";

    /// <summary>Address of a file, relative to the hub.</summary>
    internal string FileAddress(HubFile file) =>
        $"{Repository}/resolve/{Uri.EscapeDataString(Revision)}/{string.Join('/', file.Path.Split('/').Select(Uri.EscapeDataString))}";

    [GeneratedRegex(@"\A[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}\z")]
    private static partial Regex Names();
}

/// <summary>Timeouts, retries and parallelism of a <see cref="HubClient"/>.</summary>
internal sealed record HubOptions
{
    /// <summary>Files fetched at the same time, 1 or more.</summary>
    public int Parallel { get; init; } = 4;

    /// <summary>Attempts in a row without progress before a file fails, 1 or more.</summary>
    public int Attempts { get; init; } = 6;

    /// <summary>Wait after the first failed attempt; doubled after each further one, up to <see cref="LongestWait"/>.</summary>
    public TimeSpan FirstWait { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest wait. If the server asks for a longer one, the download fails.</summary>
    public TimeSpan LongestWait { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>A connection without data for this time counts as dropped.</summary>
    public TimeSpan Stall { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Clock and timers.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Returns the free bytes on the disk of an existing folder.</summary>
    public Func<string, long> FreeBytes { get; init; } = folder => new DriveInfo(folder).AvailableFreeSpace;

    /// <summary>Receives messages about waits.</summary>
    public Action<string>? Notify { get; init; }
}
