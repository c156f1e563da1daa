namespace PyramidFlow.Hub.Downloads;

/// <summary>A Hugging Face hub, or a mirror of one, and who asks it.</summary>
public sealed class HubEndpoint
{
    private const string Standard = "https://huggingface.co";

    /// <summary>Names a hub.</summary>
    /// <param name="address">Its http or https address.</param>
    /// <param name="token">An access token, sent to this host only; null asks without.</param>
    /// <exception cref="HubException">The address is none, or the token holds characters that no token has.</exception>
    public HubEndpoint(string address, string? token = null)
    {
        if (!Uri.TryCreate(address.TrimEnd('/') + "/", UriKind.Absolute, out var uri) || uri.Scheme is not ("http" or "https"))
            throw new HubException($"'{address}' is not the address of a hub: set HF_ENDPOINT to one such as {Standard}, or unset it");
        if (token is not null && (token.Length == 0 || token.Any(c => c is <= ' ' or > '~')))
            throw new HubException("the access token is empty or holds spaces or other characters that no token has: set HF_TOKEN again");
        (Address, Token) = (uri, token);
    }

    /// <summary>Its address, which ends with a slash.</summary>
    public Uri Address { get; }

    internal string? Token { get; }

    /// <summary>
    /// The hub of the usual variables: <c>HF_ENDPOINT</c>; the token of <c>HF_TOKEN</c>, <c>HUGGING_FACE_HUB_TOKEN</c>, or the
    /// file <c>HF_TOKEN_PATH</c>, else <c>token</c> in <c>HF_HOME</c> (<c>~/.cache/huggingface</c>).
    /// </summary>
    /// <param name="variable">Gives a variable's value; null reads the process's environment.</param>
    /// <exception cref="HubException">A variable holds something unfit.</exception>
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
                throw new HubException($"the access token in {file} cannot be read: {e.Message}; set HF_TOKEN, or change the file's permissions", e);
            }
        }
    }

    /// <summary>Whether an address is on this host, so that it may see the token.</summary>
    internal bool Owns(Uri address) => address.Scheme == Address.Scheme && address.Authority == Address.Authority;
}
