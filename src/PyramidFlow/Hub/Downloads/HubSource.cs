using System.Text.RegularExpressions;

namespace PyramidFlow.Hub.Downloads;

/// <summary>A repository of a hub at one revision.</summary>
public sealed partial record HubSource
{
    /// <summary>Names a repository.</summary>
    /// <param name="repository">OWNER/NAME.</param>
    /// <param name="revision">Branch, tag or commit.</param>
    /// <exception cref="HubException">It is no name of a repository.</exception>
    public HubSource(string repository, string revision = "main")
    {
        if (!Names().IsMatch(repository) || repository.Contains("..", StringComparison.Ordinal))
            throw new HubException($"'{repository}' is not the name of a repository: use OWNER/NAME, such as rain1011/pyramid-flow-miniflux");
        if (revision.Length == 0 || revision.Any(char.IsControl))
            throw new HubException("the revision is empty or holds control characters: use a branch, a tag or a commit");
        (Repository, Revision) = (repository, revision);
    }

    /// <summary>OWNER/NAME.</summary>
    public string Repository { get; }

    /// <summary>Branch, tag or commit.</summary>
    public string Revision { get; }

    /// <summary>Where the list of files is, relative to the hub.</summary>
    internal string ListAddress => $"api/models/{Repository}/tree/{Uri.EscapeDataString(Revision)}?recursive=1";

    /// <summary>Where a file is, relative to the hub.</summary>
    internal string FileAddress(HubFile file) =>
        $"{Repository}/resolve/{Uri.EscapeDataString(Revision)}/{string.Join('/', file.Path.Split('/').Select(Uri.EscapeDataString))}";

    [GeneratedRegex(@"\A[A-Za-z0-9][A-Za-z0-9._-]{0,95}/[A-Za-z0-9][A-Za-z0-9._-]{0,95}\z")]
    private static partial Regex Names();
}
