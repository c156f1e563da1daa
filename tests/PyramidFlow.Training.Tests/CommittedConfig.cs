using System.Text.Json;
using System.Text.Json.Nodes;

namespace PyramidFlow.Training.Tests;

/// <summary>The configurations in the repository's configs folder.</summary>
internal static class CommittedConfig
{
    public static string Path(string name)
    {
        var folder = new DirectoryInfo(AppContext.BaseDirectory);
        while (folder is not null && !File.Exists(System.IO.Path.Combine(folder.FullName, "configs", name)))
            folder = folder.Parent;
        return System.IO.Path.Combine(folder?.FullName ?? throw new FileNotFoundException($"no configs/{name} above the tests"), "configs", name);
    }

    /// <summary>One with some values changed; a key a.b is b in the object a.</summary>
    public static string Changed(string name, params ReadOnlySpan<(string Key, JsonNode Value)> values)
    {
        var root = JsonNode.Parse(File.ReadAllText(Path(name)), documentOptions: new JsonDocumentOptions { CommentHandling = JsonCommentHandling.Skip })!;
        foreach (var (key, value) in values)
        {
            var parts = key.Split('.');
            var at = parts.SkipLast(1).Aggregate(root, (node, part) => node[part]!);
            at[parts[^1]] = value;
        }

        return root.ToJsonString();
    }
}
