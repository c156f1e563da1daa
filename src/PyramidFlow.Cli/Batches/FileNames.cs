using System.Security.Cryptography;
using System.Text;
using PyramidFlow.Cli.Generating;

namespace PyramidFlow.Cli.Batches;

/// <summary>
/// Names of a batch's files: what names the item, or its number and the beginning of its prompt. They hold no character that
/// some file system forbids or that leaves the folder, and no two are alike, on systems that ignore case either.
/// </summary>
internal sealed class FileNames
{
    // A name may have 255 bytes; a number, an extension and the hidden name of the unfinished file are added.
    private const int MaxNameBytes = 120, MaxPromptBytes = 48;
    private static readonly string[] Reserved = ["con", "prn", "aux", "nul", .. Enumerable.Range(0, 10).SelectMany(n => (string[])[$"com{n}", $"lpt{n}"])];

    private readonly HashSet<string> taken = new(StringComparer.OrdinalIgnoreCase);

    /// <summary>The name of an item's file, with its extension.</summary>
    /// <param name="number">Number of the item, from 1.</param>
    /// <param name="item">The item.</param>
    /// <param name="extension">Unless its name has a known one.</param>
    public string Next(int number, BatchItem item, string extension)
    {
        var stem = $"{number:D4}";
        if (item.Name is { } name)
        {
            var written = OutputFile.Extensions.FirstOrDefault(known => name.EndsWith(known, StringComparison.OrdinalIgnoreCase));
            if (written is not null)
                (name, extension) = (name[..^written.Length], written);
            stem = Safe(name) is { Length: > 0 } safe ? safe : stem;
        }
        else if (Slug(item.Clip.Prompt ?? "") is { Length: > 0 } slug)
        {
            stem += "-" + slug;
        }

        if (!taken.Add(stem + extension))
        {
            // Of what was written, and not a counter: an item that is put in before does not change it.
            stem += "-" + Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(item.Name ?? stem)))[..8];
            if (!taken.Add(stem + extension))
                throw new FormatException($"the name '{item.Name}' stands above already, and one name is one file: give it another");
        }

        return stem + extension;
    }

    private static string Safe(string name)
    {
        var safe = Kept(name, rune => Rune.IsLetterOrDigit(rune) || rune.Value is '-' or '_' or '.' or ' ' or '+' or '=' or '@' or ',' or '(' or ')', MaxNameBytes)
            .Trim('-', '.', ' ');
        return Reserved.Contains(safe.Split('.')[0].ToLowerInvariant()) ? safe + "_" : safe;
    }

    // Whole words, unless the first is too long.
    private static string Slug(string prompt)
    {
        var words = Kept(prompt.ToLowerInvariant(), Rune.IsLetterOrDigit, int.MaxValue).Trim('-');
        var slug = Kept(words, Rune.IsLetterOrDigit, MaxPromptBytes);
        return slug.Length < words.Length && words[slug.Length] != '-' && slug.LastIndexOf('-') is > 0 and var end ? slug[..end] : slug.Trim('-');
    }

    // A dash for each run of others.
    private static string Kept(string text, Func<Rune, bool> keep, int maxBytes)
    {
        var kept = new StringBuilder();
        var bytes = 0;
        foreach (var rune in text.EnumerateRunes())
        {
            var next = keep(rune) && rune != Rune.ReplacementChar ? rune : new Rune('-');
            if (next.Value == '-' && (kept.Length == 0 || kept[^1] == '-'))
                continue;
            bytes += next.Utf8SequenceLength;
            if (bytes > maxBytes)
                break;
            kept.Append(next);
        }

        return kept.ToString();
    }
}
