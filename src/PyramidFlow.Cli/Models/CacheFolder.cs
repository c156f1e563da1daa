namespace PyramidFlow.Cli.Models;

/// <summary>Where this user's caches lie.</summary>
internal static class CacheFolder
{
    /// <summary>Environment variable that names another place.</summary>
    public const string Variable = "PYRAMIDFLOW_CACHE";

    /// <summary>Folder of the encoded prompts, which need not exist; null where this user has no place for caches.</summary>
    public static string? Prompts => Root is { } root ? Path.Combine(root, "prompts") : null;

    private static string? Root => NonEmpty(Variable)
        ?? (NonEmpty("XDG_CACHE_HOME") is { } caches && Path.IsPathRooted(caches) ? Path.Combine(caches, CommandLine.Name) : null)
        ?? (Home is { } home ? Path.Combine(home, ".cache", CommandLine.Name) : null);

    // A home that is not there, as services have it, is not made.
    private static string? Home => Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home
        && Path.IsPathRooted(home) && Directory.Exists(home) ? home : null;

    private static string? NonEmpty(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : null;
}
