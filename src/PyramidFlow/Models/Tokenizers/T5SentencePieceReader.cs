using System.Globalization;
using System.Text.Json;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// Reads a <c>spiece.model</c> (protobuf <c>sentencepiece.ModelProto</c>) as the reference's fast tokenizer converts it.
/// </summary>
internal static class T5SentencePieceReader
{
    private const int DefaultExtraIds = 100;
    private const int MaxExtraIds = 100_000;
    private const int UnknownType = 2;
    private const int ControlType = 3;

    /// <summary>Parses the file.</summary>
    /// <param name="model">Bytes of <c>spiece.model</c>.</param>
    /// <param name="settings">The folder's <c>tokenizer_config.json</c>: number of extra ids, added tokens.</param>
    /// <exception cref="InvalidDataException">The file is damaged or not a unigram model.</exception>
    public static T5Definition Parse(byte[] model, JsonElement settings)
    {
        var vocabulary = new UnigramVocabulary();
        var added = new List<AddedToken>();
        var unknownId = -1;
        var normalizer = new List<NormalizerStep>();
        var prefix = WordSplitStep.PrefixScheme.Always;
        var message = new ProtobufReader(model);
        while (message.Next(out var field))
        {
            switch (field)
            {
                case 1:
                    ReadPiece(message.Bytes(), vocabulary, out var type);
                    if (type is UnknownType or ControlType)
                        added.Add(new AddedToken(vocabulary.Count - 1, StrictText.Decode(vocabulary[^1])));
                    if (type == UnknownType)
                        unknownId = vocabulary.Count - 1;
                    break;
                case 2:
                    CheckTrainer(message.Bytes());
                    break;
                case 3:
                    ReadNormalizer(message.Bytes(), normalizer, ref prefix);
                    break;
                default:
                    message.Skip();
                    break;
            }
        }

        if (unknownId < 0)
            throw new InvalidDataException("it has no piece for unknown text");
        normalizer.Add(new NormalizerStep.Strip(Left: false, Right: true));
        normalizer.Add(new NormalizerStep.ReplaceSpaceRuns("▁"));
        return new T5Definition(vocabulary, new UnigramModel(vocabulary, unknownId), unknownId, normalizer,
            [new WordSplitStep.Metaspace('▁', prefix, Cuts: true)], WithExtraIds(added, vocabulary.Count, settings));
    }

    private static void ReadPiece(ReadOnlySpan<byte> bytes, UnigramVocabulary vocabulary, out int type)
    {
        ReadOnlySpan<byte> piece = default;
        var score = 0f;
        type = 1;
        var message = new ProtobufReader(bytes);
        while (message.Next(out var field))
        {
            if (field == 1)
                piece = message.Bytes();
            else if (field == 2)
                score = message.Single();
            else if (field == 3)
                type = (int)Math.Min(message.Varint(), int.MaxValue);
            else
                message.Skip();
        }

        if (piece.IsEmpty)
            throw new InvalidDataException($"piece {vocabulary.Count} has no text");
        vocabulary.Add(piece, score);
    }

    private static void CheckTrainer(ReadOnlySpan<byte> bytes)
    {
        var message = new ProtobufReader(bytes);
        while (message.Next(out var field))
        {
            if (field == 3 && message.Varint() is var type && type != 1)
                throw new InvalidDataException($"its model type is {type}; a T5 tokenizer has type 1, unigram");
            if (field == 35 && message.Varint() != 0)
                throw new InvalidDataException("byte_fallback is not supported; T5 vocabularies have none");
            if (field is not (3 or 35))
                message.Skip();
        }
    }

    private static void ReadNormalizer(
        ReadOnlySpan<byte> bytes, List<NormalizerStep> steps, ref WordSplitStep.PrefixScheme prefix)
    {
        var message = new ProtobufReader(bytes);
        while (message.Next(out var field))
        {
            if (field == 2 && message.Bytes() is { IsEmpty: false } charsmap)
                steps.Add(new NormalizerStep.Charsmap(new PrecompiledCharsmap(charsmap)));
            else if (field == 3)
                prefix = message.Varint() != 0 ? WordSplitStep.PrefixScheme.Always : WordSplitStep.PrefixScheme.Never;
            else if (field != 2)
                message.Skip();
        }
    }

    // T5 counts its sentinels down: <extra_id_0> has the last id.
    private static List<AddedToken> WithExtraIds(List<AddedToken> special, int pieces, JsonElement settings)
    {
        var extra = DefaultExtraIds;
        if (settings.TryGetProperty("extra_ids", out var count)
            && !(count.ValueKind == JsonValueKind.Number && count.TryGetInt32(out extra) && extra is >= 0 and <= MaxExtraIds))
        {
            throw new InvalidDataException($"extra_ids of tokenizer_config.json is not a whole number from 0 to {MaxExtraIds}");
        }

        var tokens = AddedToken.FromDecoder(settings) ?? [];
        var known = tokens.Select(t => t.Content).ToHashSet();
        tokens.AddRange(special.Where(t => known.Add(t.Content)));
        for (var i = 0; i < extra; i++)
        {
            var content = string.Create(CultureInfo.InvariantCulture, $"<extra_id_{i}>");
            if (known.Add(content))
                tokens.Add(new AddedToken(pieces + extra - 1 - i, content, StripLeft: true, StripRight: true));
        }

        return tokens;
    }
}
