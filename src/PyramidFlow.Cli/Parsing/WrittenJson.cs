using System.Text.Json;

namespace PyramidFlow.Cli.Parsing;

/// <summary>JSON in files that people write.</summary>
internal static class WrittenJson
{
    /// <summary>What is let pass in them.</summary>
    public static readonly JsonReaderOptions ReaderOptions = new() { AllowTrailingCommas = true, CommentHandling = JsonCommentHandling.Skip };

    /// <summary>What is wrong, without where.</summary>
    public static string Reason(JsonException e)
    {
        var at = e.Message.IndexOf(" LineNumber:", StringComparison.Ordinal);
        return (at < 0 ? e.Message : e.Message[..at]).TrimEnd('.', ' ');
    }
}
