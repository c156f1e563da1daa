using System.Text;
using System.Text.Json.Nodes;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// Writes tokenizer folders in the released formats for a small vocabulary: each listed word is one token, all other words are spelled.
/// Used for small models that are trained from scratch.
/// </summary>
internal static class WordTokenizerFiles
{
    private const double WordScore = -5;
    private const double LetterScore = -20;
    private const string Letters = "abcdefghijklmnopqrstuvwxyz0123456789";
    private const string Punctuation = ".,;:!?'\"()[]-/&%+#";
    private const string StartOfText = "<|startoftext|>";
    private const string EndOfText = "<|endoftext|>";

    /// <summary>
    /// Writes <c>tokenizer.json</c> and <c>tokenizer_config.json</c> of a T5 tokenizer: <c>&lt;pad&gt;</c> 0,
    /// <c>&lt;/s&gt;</c> 1, <c>&lt;unk&gt;</c> 2, the words from 3 on in the order given, then letters, digits and
    /// punctuation. The tokenizer converts text to lower case.
    /// </summary>
    /// <param name="folder">Folder to write to; created if missing.</param>
    /// <param name="words">Words without white space; case is ignored, repeated words are skipped.</param>
    /// <exception cref="ArgumentException">A word is empty or contains white space.</exception>
    public static void WriteT5(string folder, IEnumerable<string> words)
    {
        var vocabulary = new JsonArray { Piece("<pad>", 0), Piece("</s>", 0), Piece("<unk>", 0) };
        foreach (var word in Distinct(words))
        {
            if (word.Length == 0 || word.Any(char.IsWhiteSpace) || word.Contains('▁', StringComparison.Ordinal))
                throw new ArgumentException($"\"{word}\" is not one word", nameof(words));
            vocabulary.Add(Piece("▁" + word, WordScore));
        }

        vocabulary.Add(Piece("▁", LetterScore));
        foreach (var c in Letters + Punctuation)
            vocabulary.Add(Piece(c.ToString(), LetterScore));
        string[] specials = ["<pad>", "</s>", "<unk>"];
        var metaspace = new JsonObject
        {
            ["type"] = "Metaspace",
            ["replacement"] = "▁",
            ["prepend_scheme"] = "always",
            ["split"] = true,
        };
        Write(folder, "tokenizer.json", new JsonObject
        {
            ["version"] = "1.0",
            ["truncation"] = null,
            ["padding"] = null,
            ["added_tokens"] = new JsonArray([.. specials.Select(AddedToken)]),
            ["normalizer"] = new JsonObject { ["type"] = "Lowercase" },
            ["pre_tokenizer"] = new JsonObject
            {
                ["type"] = "Sequence",
                ["pretokenizers"] = new JsonArray(new JsonObject { ["type"] = "WhitespaceSplit" }, metaspace),
            },
            ["post_processor"] = EndTokenTemplate(),
            ["decoder"] = metaspace.DeepClone(),
            ["model"] = new JsonObject
            {
                ["type"] = "Unigram",
                ["unk_id"] = 2,
                ["vocab"] = vocabulary,
                ["byte_fallback"] = false,
            },
        });
        Write(folder, "tokenizer_config.json", new JsonObject
        {
            ["tokenizer_class"] = "T5Tokenizer",
            ["eos_token"] = "</s>",
            ["pad_token"] = "<pad>",
            ["unk_token"] = "<unk>",
            ["extra_ids"] = 0,
            ["model_max_length"] = T5Tokenizer.DefaultMaxLength,
        });
    }

    /// <summary>
    /// Writes <c>vocab.json</c>, <c>merges.txt</c> and the settings files of a CLIP tokenizer that pads with its end token. Ids: 256
    /// bytes, the same bytes at the end of a word, the merges, start and end token.
    /// </summary>
    /// <param name="folder">Folder to write to; created if missing.</param>
    /// <param name="words">Words that CLIP's pattern does not split, such as words of letters; repeated words are skipped.</param>
    /// <exception cref="ArgumentException">CLIP's pattern splits a word, such as "blue-green" or "8k".</exception>
    public static void WriteClip(string folder, IEnumerable<string> words)
    {
        var characters = ByteAlphabet.Characters();
        var bytes = ByteAlphabet.InVocabularyOrder().Select(b => characters[b].ToString()).ToArray();
        string[] symbols = [.. bytes, .. bytes.Select(b => b + BytePairModel.EndOfWord)];
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var symbol in symbols)
            ids.Add(symbol, ids.Count);

        var merges = new List<string>();
        foreach (var word in Distinct(words))
        {
            if (ClipText.Clean(word) is var clean && (clean.Length == 0 || ClipText.Words(clean, []).First() != clean))
                throw new ArgumentException($"CLIP cuts \"{word}\" into several words: list its parts", nameof(words));
            AddMerges(clean, ids, merges, characters);
        }

        ids.Add(StartOfText, ids.Count);
        ids.Add(EndOfText, ids.Count);
        Write(folder, "vocab.json", new JsonObject(ids.Select(p => KeyValuePair.Create(p.Key, (JsonNode?)p.Value))));
        File.WriteAllText(Path.Combine(folder, "merges.txt"), "#version: 0.2\n" + string.Concat(merges.Select(m => m + "\n")));
        var specials = new JsonObject
        {
            ["bos_token"] = StartOfText,
            ["eos_token"] = EndOfText,
            ["unk_token"] = EndOfText,
            ["pad_token"] = EndOfText,
        };
        Write(folder, "special_tokens_map.json", specials);
        var config = specials.DeepClone().AsObject();
        config["tokenizer_class"] = "CLIPTokenizer";
        config["model_max_length"] = ClipTokenizer.DefaultMaxLength;
        Write(folder, "tokenizer_config.json", config);
    }

    // Applies the merges of earlier words, then joins the remaining parts from left to right with new merges of lower rank, so that
    // earlier words keep their tokens.
    private static void AddMerges(string word, Dictionary<string, int> ids, List<string> merges, char[] characters)
    {
        var parts = Encoding.UTF8.GetBytes(word).Select(b => characters[b].ToString()).ToList();
        parts[^1] += BytePairModel.EndOfWord;
        foreach (var merge in merges)
        {
            for (var i = 0; i + 1 < parts.Count; i++)
            {
                if (merge.Length == parts[i].Length + parts[i + 1].Length + 1
                    && merge.StartsWith(parts[i] + " ", StringComparison.Ordinal)
                    && merge.EndsWith(" " + parts[i + 1], StringComparison.Ordinal))
                {
                    parts[i] += parts[i + 1];
                    parts.RemoveAt(i + 1);
                }
            }
        }

        while (parts.Count > 1)
        {
            merges.Add($"{parts[0]} {parts[1]}");
            parts[0] += parts[1];
            parts.RemoveAt(1);
            ids.TryAdd(parts[0], ids.Count);
        }
    }

    private static IEnumerable<string> Distinct(IEnumerable<string> words) => words.Select(UnicodeCase.ToLower).Distinct();

    private static JsonArray Piece(string text, double score) => [text, score];

    private static JsonNode AddedToken(string content, int id) => new JsonObject
    {
        ["id"] = id,
        ["content"] = content,
        ["single_word"] = false,
        ["lstrip"] = false,
        ["rstrip"] = false,
        ["normalized"] = false,
        ["special"] = true,
    };

    private static JsonObject EndTokenTemplate() => new()
    {
        ["type"] = "TemplateProcessing",
        ["single"] = new JsonArray(TemplateItem("Sequence", "A"), TemplateItem("SpecialToken", "</s>")),
        ["pair"] = new JsonArray(TemplateItem("Sequence", "A"), TemplateItem("SpecialToken", "</s>"),
            TemplateItem("Sequence", "B"), TemplateItem("SpecialToken", "</s>")),
        ["special_tokens"] = new JsonObject
        {
            ["</s>"] = new JsonObject
            {
                ["id"] = "</s>",
                ["ids"] = new JsonArray(1),
                ["tokens"] = new JsonArray("</s>"),
            },
        },
    };

    private static JsonObject TemplateItem(string kind, string id) =>
        new() { [kind] = new JsonObject { ["id"] = id, ["type_id"] = 0 } };

    private static void Write(string folder, string file, JsonObject content)
    {
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, file), ReadableJson.Write(json => content.WriteTo(json), indented: true));
    }
}
