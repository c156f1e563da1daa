namespace PyramidFlow.Models;

/// <summary>The folder of this user's caches.</summary>
internal static class CacheFolder
{
    /// <summary>Environment variable that overrides the folder.</summary>
    public const string Variable = "PYRAMIDFLOW_CACHE";

    private const string Name = "pyramidflow";

    /// <summary>Folder of the encoded prompts, which need not exist; null where this user has no place for caches.</summary>
    public static string? Prompts => In("prompts");

    /// <summary>Folder of the indexes of shards; the same.</summary>
    public static string? Shards => In("shards");

    private static string? In(string folder) => Root is { } root ? Path.Combine(root, folder) : null;

    private static string? Root => NonEmpty(Variable)
        ?? (NonEmpty("XDG_CACHE_HOME") is { } caches && Path.IsPathRooted(caches) ? Path.Combine(caches, Name) : null)
        ?? (Home is { } home ? Path.Combine(home, ".cache", Name) : null);

    // Services may have a home folder that does not exist; it is not created.
    private static string? Home => Environment.GetFolderPath(Environment.SpecialFolder.UserProfile) is { Length: > 0 } home
        && Path.IsPathRooted(home) && Directory.Exists(home) ? home : null;

    private static string? NonEmpty(string variable) => Environment.GetEnvironmentVariable(variable) is { Length: > 0 } value ? value : null;
}
