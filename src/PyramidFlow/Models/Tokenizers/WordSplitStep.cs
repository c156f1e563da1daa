using System.Text.Json;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>One step of the cutting into words (<c>pre_tokenizer</c>) named in a <c>tokenizer.json</c>.</summary>
internal abstract record WordSplitStep
{
    // Of T5 there are two; each may put a mark before every word that the one before made.
    private const int MaxSteps = 8;

    /// <summary>Cuts a word further.</summary>
    /// <param name="word">A word; not empty.</param>
    /// <param name="opensText">Whether it stands at the very start of the text.</param>
    public abstract IEnumerable<(string Word, bool OpensText)> Split(string word, bool opensText);

    /// <summary>Reads the <c>pre_tokenizer</c> member; a sequence gives several steps, null gives none.</summary>
    /// <exception cref="InvalidDataException">The step is of a kind no T5 tokenizer uses.</exception>
    public static List<WordSplitStep> FromJson(JsonElement json)
    {
        var steps = Steps(json).Take(MaxSteps + 1).ToList();
        return steps.Count <= MaxSteps ? steps : throw new InvalidDataException($"its pre_tokenizer has more than {MaxSteps} steps");
    }

    private static IEnumerable<WordSplitStep> Steps(JsonElement json) => json.ValueKind == JsonValueKind.Null ? [] : TokenizerFile.Text(json, "type") switch
    {
        "Sequence" => TokenizerFile.Member(json, "pretokenizers", JsonValueKind.Array).EnumerateArray().SelectMany(Steps),
        "WhitespaceSplit" => [new Whitespace()],
        "Metaspace" => [MetaspaceFromJson(json)],
        var other => throw new InvalidDataException(
            $"pre-tokenizer \"{other}\" is not supported (Sequence, WhitespaceSplit and Metaspace are)"),
    };

    private static Metaspace MetaspaceFromJson(JsonElement json)
    {
        if (TokenizerFile.Text(json, "replacement") is not [var mark])
            throw new InvalidDataException("the Metaspace replacement is not one character");
        // Older files have add_prefix_space in place of prepend_scheme.
        var scheme = json.TryGetProperty("prepend_scheme", out _)
            ? TokenizerFile.Text(json, "prepend_scheme")
            : TokenizerFile.Flag(json, "add_prefix_space", otherwise: true) ? "always" : "never";
        var prefix = scheme switch
        {
            "always" => PrefixScheme.Always,
            "first" => PrefixScheme.First,
            "never" => PrefixScheme.Never,
            _ => throw new InvalidDataException($"Metaspace prepend_scheme \"{scheme}\" is not always, first or never"),
        };
        return new Metaspace(mark, prefix, TokenizerFile.Flag(json, "split", otherwise: true));
    }

    /// <summary>Which words get the mark in front when they have none.</summary>
    public enum PrefixScheme
    {
        Always,
        First,
        Never,
    }

    /// <summary>Cuts at white space and drops it.</summary>
    public sealed record Whitespace : WordSplitStep
    {
        public override IEnumerable<(string Word, bool OpensText)> Split(string word, bool opensText)
        {
            for (var start = 0; start < word.Length;)
            {
                var end = start;
                while (end < word.Length && !char.IsWhiteSpace(word[end]))
                    end++;
                if (end > start)
                    yield return (word[start..end], opensText && start == 0);
                start = end + 1;
            }
        }
    }

    /// <summary>Writes spaces as a visible mark and cuts before each mark.</summary>
    public sealed record Metaspace(char Mark, PrefixScheme Prefix, bool Cuts) : WordSplitStep
    {
        public override IEnumerable<(string Word, bool OpensText)> Split(string word, bool opensText)
        {
            var marked = word.Replace(' ', Mark);
            var wantsPrefix = Prefix == PrefixScheme.Always || (Prefix == PrefixScheme.First && opensText);
            if (wantsPrefix && marked[0] != Mark)
                marked = Mark + marked;
            for (var start = 0; start < marked.Length;)
            {
                var next = Cuts ? marked.IndexOf(Mark, start + 1) : -1;
                var end = next < 0 ? marked.Length : next;
                yield return (marked[start..end], opensText && start == 0);
                start = end;
            }
        }
    }
}
