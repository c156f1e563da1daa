using System.Runtime.CompilerServices;

namespace PyramidFlow.Server.Tests;

/// <summary>The model of the repository.</summary>
internal static class Sprites
{
    public static string Folder { get; } = InRepository("models", "sprites");

    private static string InRepository(string folder, string name, [CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", folder, name));
}
