using System.Buffers;

namespace PyramidFlow.Server.Domain;

/// <summary>Names of videos: <c>video_</c> and 32 hexadecimal digits that nobody can guess.</summary>
public static class VideoId
{
    private const string Prefix = "video_";
    private static readonly SearchValues<char> Digits = SearchValues.Create("0123456789abcdef");

    /// <summary>A name that is free.</summary>
    public static string New() => Prefix + Convert.ToHexStringLower(System.Security.Cryptography.RandomNumberGenerator.GetBytes(16));

    /// <summary>Whether a text has the form of a name.</summary>
    public static bool IsValid(string text) =>
        text.Length == Prefix.Length + 32 && text.StartsWith(Prefix, StringComparison.Ordinal) && !text.AsSpan(Prefix.Length).ContainsAnyExcept(Digits);
}
