namespace PyramidFlow.Cli.Models;

/// <summary>Where this user's caches lie.</summary>
internal static class CacheFolder
{
    /// <summary>Environment variable that names another place.</summary>
    public const string Variable = "PYRAMIDFLOW_CACHE";

    /// <summary>Folder of the encoded prompts; it need not exist.</summary>
    public static string Prompts => Path.Combine(Root, "prompts");

    private static string Root => NonEmpty(Variable)
        ?? (NonEmpty("XDG_CACHE_HOME") is { } caches ? Path.Combine(caches, CommandLine.Name) : null)
        ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache", CommandLine.Name);

    private static string? NonEmpty(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : null;
}
