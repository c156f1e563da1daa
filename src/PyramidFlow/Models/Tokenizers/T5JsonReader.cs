using System.Text;
using System.Text.Json;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>Reads a <c>tokenizer.json</c> that holds a unigram model.</summary>
internal static class T5JsonReader
{
    /// <summary>Parses the file.</summary>
    /// <exception cref="InvalidDataException">The file is not a unigram tokenizer of the T5 sort.</exception>
    /// <exception cref="Torch.Formats.MalformedTextException">It is not JSON, or holds text that is none.</exception>
    public static T5Definition Parse(byte[] json)
    {
        using var document = TokenizerFile.Json(json);
        var root = document.RootElement;
        var normalizer = root.TryGetProperty("normalizer", out var steps) ? NormalizerStep.FromJson(steps) : [];
        var wordSplit = root.TryGetProperty("pre_tokenizer", out var cuts) ? WordSplitStep.FromJson(cuts) : [];
        var added = root.TryGetProperty("added_tokens", out var tokens) && tokens.ValueKind != JsonValueKind.Null ? ReadAdded(root) : [];
        var model = TokenizerFile.Member(root, "model", JsonValueKind.Object);
        if (model.TryGetProperty("type", out _) && TokenizerFile.Text(model, "type") is var type && type != "Unigram")
            throw new InvalidDataException($"its model is {type}; a T5 tokenizer has a Unigram model");
        if (TokenizerFile.Flag(model, "byte_fallback"))
            throw new InvalidDataException("byte_fallback is not supported; T5 vocabularies have none");
        var vocabulary = ReadVocabulary(model);
        if (!TokenizerFile.Member(model, "unk_id", JsonValueKind.Number).TryGetInt32(out var unknownId))
            throw new InvalidDataException("its model's unk_id is not the number of a piece");
        return new T5Definition(vocabulary, new UnigramModel(vocabulary, unknownId), unknownId, normalizer, wordSplit, added);
    }

    private static List<AddedToken> ReadAdded(JsonElement root)
    {
        var added = new List<AddedToken>();
        foreach (var entry in TokenizerFile.Member(root, "added_tokens", JsonValueKind.Array).EnumerateArray())
        {
            if (!TokenizerFile.Member(entry, "id", JsonValueKind.Number).TryGetInt32(out var id))
                throw new InvalidDataException($"the id of added token {added.Count} is not a whole number that a token may have");
            added.Add(AddedToken.FromJson(id, entry));
        }

        return added;
    }

    private static UnigramVocabulary ReadVocabulary(JsonElement model)
    {
        var vocabulary = new UnigramVocabulary();
        foreach (var entry in TokenizerFile.Member(model, "vocab", JsonValueKind.Array).EnumerateArray())
        {
            if (entry.ValueKind != JsonValueKind.Array || entry.GetArrayLength() != 2 || entry[0].ValueKind != JsonValueKind.String
                || entry[1].ValueKind != JsonValueKind.Number || !entry[1].TryGetDouble(out var score))
            {
                throw new InvalidDataException($"piece {vocabulary.Count} of its vocab is not a text and a score");
            }

            vocabulary.Add(Encoding.UTF8.GetBytes(entry[0].GetString()!), score);
        }

        return vocabulary;
    }
}
