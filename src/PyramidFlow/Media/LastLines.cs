using System.Text.RegularExpressions;

namespace PyramidFlow.Media;

/// <summary>The end of a program's error output: bounded, however much it prints.</summary>
internal sealed partial class LastLines
{
    private const int MaxLines = 20;
    private const int MaxLineLength = 400;
    private readonly Queue<string> lines = [];

    public bool IsEmpty => lines.Count == 0;

    public void Add(string line)
    {
        line = ComponentPrefix().Replace(line, "").Trim();
        if (line.Length == 0 || line is "Conversion failed!")
            return;
        lines.Enqueue(line.Length <= MaxLineLength ? line : line[..MaxLineLength] + "...");
        if (lines.Count > MaxLines)
            lines.Dequeue();
    }

    public bool Contains(string text) => lines.Any(line => line.Contains(text, StringComparison.OrdinalIgnoreCase));

    /// <summary>Whether what was said means that memory was not enough.</summary>
    public bool TellOfMemory => Contains("Cannot allocate memory") || Contains("get_buffer() failed") || Contains("Failed to allocate") || Contains("bad_alloc");

    /// <summary>The size, as "640x384", of a picture that was refused for it, if that is what was said.</summary>
    public string? OversizedPicture() =>
        lines.Select(line => TooManyPixels().Match(line)).LastOrDefault(match => match.Success)?.Groups[1].Value;

    /// <summary>The last two lines as one.</summary>
    public override string ToString() => IsEmpty ? "it gave no reason" : string.Join("; ", lines.TakeLast(2));

    [GeneratedRegex(@"Picture size ([1-9]\d*x[1-9]\d*) (exceeds|is invalid)")]
    private static partial Regex TooManyPixels();

    // "[h264 @ 0x55e06b29e280] " says nothing to the user.
    [GeneratedRegex(@"^(\[[^\]]* @ 0x[0-9a-f]+\]\s*)+")]
    private static partial Regex ComponentPrefix();
}
