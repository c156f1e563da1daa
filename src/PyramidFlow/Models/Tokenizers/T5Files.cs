using System.Globalization;
using System.Text;
using System.Text.Json;
using Google.Protobuf;
using PyramidFlow.Torch.Formats;
using PyramidFlow.Torch;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>Reads a <c>tokenizer.json</c> with a unigram model.</summary>
internal static class T5JsonReader
{
    /// <summary>Parses the file.</summary>
    /// <exception cref="InvalidDataException">The file is not a unigram tokenizer like T5's.</exception>
    /// <exception cref="MalformedTextException">The file is not JSON, or its text is not valid.</exception>
    public static T5Definition Parse(byte[] json)
    {
        using var document = TokenizerFile.Json(json);
        var root = document.RootElement;
        var normalizer = root.TryGetProperty("normalizer", out var steps) ? NormalizerStep.FromJson(steps) : [];
        var wordSplit = root.TryGetProperty("pre_tokenizer", out var splits) ? WordSplitStep.FromJson(splits) : [];
        var added = root.TryGetProperty("added_tokens", out var tokens) && tokens.ValueKind != JsonValueKind.Null ? ReadAdded(root) : [];
        var model = TokenizerFile.Member(root, "model", JsonValueKind.Object);
        if (model.TryGetProperty("type", out _) && TokenizerFile.Text(model, "type") is var type && type != "Unigram")
            throw new InvalidDataException($"its model is {type}; a T5 tokenizer has a Unigram model");
        if (TokenizerFile.Flag(model, "byte_fallback"))
            throw new InvalidDataException(CheckpointFault.NoByteFallback);
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

/// <summary>
/// Reads a <c>spiece.model</c> (protobuf <c>sentencepiece.ModelProto</c>) with the result of the reference's conversion to a fast tokenizer.
/// </summary>
internal static class T5SentencePieceReader
{
    private const int DefaultExtraIds = 100;
    private const int MaxExtraIds = 100_000;
    private const int UnknownType = 2;
    private const int ControlType = 3;

    /// <summary>Parses the file.</summary>
    /// <param name="model">Bytes of <c>spiece.model</c>.</param>
    /// <param name="settings">Content of the folder's <c>tokenizer_config.json</c>: number of extra ids, added tokens.</param>
    /// <exception cref="InvalidDataException">The file is damaged or not a unigram model.</exception>
    public static T5Definition Parse(byte[] model, JsonElement settings)
    {
        try
        {
            using var message = new CodedInputStream(model);
            return Read(new ProtobufFields(message), settings);
        }
        catch (InvalidProtocolBufferException e)
        {
            throw new InvalidDataException(CheckpointFault.MessageCutOff, e);
        }
    }

    private static T5Definition Read(ProtobufFields message, JsonElement settings)
    {
        var vocabulary = new UnigramVocabulary();
        var added = new List<AddedToken>();
        var unknownId = -1;
        var normalizer = new List<NormalizerStep>();
        var prefix = WordSplitStep.PrefixScheme.Always;
        while (message.Next(out var field))
        {
            switch (field)
            {
                case 1:
                    ReadPiece(message.Message(), vocabulary, out var type);
                    if (type is UnknownType or ControlType)
                        added.Add(new AddedToken(vocabulary.Count - 1, StrictText.Decode(vocabulary[^1])));
                    if (type == UnknownType)
                        unknownId = vocabulary.Count - 1;
                    break;
                case 2:
                    CheckTrainer(message.Message());
                    break;
                case 3:
                    ReadNormalizer(message.Message(), normalizer, ref prefix);
                    break;
                default:
                    message.Skip();
                    break;
            }
        }

        if (unknownId < 0)
            throw new InvalidDataException(CheckpointFault.NoUnknownPiece);
        normalizer.Add(new NormalizerStep.Strip(Left: false, Right: true));
        normalizer.Add(new NormalizerStep.ReplaceSpaceRuns("▁"));
        return new T5Definition(vocabulary, new UnigramModel(vocabulary, unknownId), unknownId, normalizer,
            [new WordSplitStep.Metaspace('▁', prefix, Splits: true)], WithExtraIds(added, vocabulary.Count, settings));
    }

    private static void ReadPiece(ProtobufFields message, UnigramVocabulary vocabulary, out int type)
    {
        var piece = ByteString.Empty;
        var score = 0f;
        type = 1;
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
            throw new InvalidDataException(CheckpointFault.PieceWithoutText(vocabulary.Count));
        vocabulary.Add(piece.Span, score);
    }

    private static void CheckTrainer(ProtobufFields message)
    {
        while (message.Next(out var field))
        {
            if (field == 3 && message.Varint() is var type && type != 1)
                throw new InvalidDataException(CheckpointFault.NoUnigram(type));
            if (field == 35 && message.Varint() != 0)
                throw new InvalidDataException(CheckpointFault.NoByteFallback);
            if (field is not (3 or 35))
                message.Skip();
        }
    }

    private static void ReadNormalizer(ProtobufFields message, List<NormalizerStep> steps, ref WordSplitStep.PrefixScheme prefix)
    {
        while (message.Next(out var field))
        {
            if (field == 2 && message.Bytes() is { IsEmpty: false } charsmap)
                steps.Add(new NormalizerStep.Charsmap(new PrecompiledCharsmap(charsmap.Span)));
            else if (field == 3)
                prefix = message.Varint() != 0 ? WordSplitStep.PrefixScheme.Always : WordSplitStep.PrefixScheme.Never;
            else if (field != 2)
                message.Skip();
        }
    }

    // T5 numbers its sentinels downwards: <extra_id_0> has the last id.
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

/// <summary>Fields of a protobuf message. A field of another type than the file's format gives it is refused.</summary>
/// <param name="input">The message.</param>
internal ref struct ProtobufFields(CodedInputStream input)
{
    private WireFormat.WireType type;

    /// <summary>Advances to the next field; false at the end of the message.</summary>
    /// <param name="field">Number of the field.</param>
    public bool Next(out int field)
    {
        var tag = input.ReadTag();
        type = WireFormat.GetTagWireType(tag);
        field = WireFormat.GetTagFieldNumber(tag);
        return tag != 0;
    }

    public readonly ulong Varint()
    {
        Require(WireFormat.WireType.Varint);
        return input.ReadUInt64();
    }

    public readonly float Single()
    {
        Require(WireFormat.WireType.Fixed32);
        return input.ReadFloat();
    }

    public readonly ByteString Bytes()
    {
        Require(WireFormat.WireType.LengthDelimited);
        return input.ReadBytes();
    }

    /// <summary>Fields of the message that is the value of the field.</summary>
    public readonly ProtobufFields Message() => new(Bytes().CreateCodedInput());

    /// <summary>Skips the value of the field; groups, which no sentencepiece model has, are refused.</summary>
    public readonly void Skip()
    {
        if (type is WireFormat.WireType.StartGroup or WireFormat.WireType.EndGroup or > WireFormat.WireType.Fixed32)
            throw new InvalidDataException(CheckpointFault.UnknownWireType((int)type));
        input.SkipLastField();
    }

    private readonly void Require(WireFormat.WireType expected)
    {
        if (type != expected)
            throw new InvalidDataException(CheckpointFault.WrongWireType((int)type, (int)expected));
    }
}
