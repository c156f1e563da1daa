using System.Text.Json;

namespace PyramidFlow.Tokenizers;

/// <summary>Reads a <c>tokenizer.json</c> that holds a unigram model.</summary>
internal static class T5JsonReader
{
    /// <summary>Parses the file; the vocabulary is streamed, the small members are read as a document.</summary>
    /// <exception cref="InvalidDataException">The file is not a unigram tokenizer of the T5 sort.</exception>
    public static T5Definition Parse(byte[] json)
    {
        var reader = new Utf8JsonReader(json);
        List<NormalizerStep> normalizer = [];
        List<WordSplitStep> wordSplit = [];
        List<AddedToken> added = [];
        (UnigramVocabulary Vocabulary, int UnknownId)? model = null;
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = reader.GetString();
            switch (name)
            {
                case "normalizer":
                    normalizer = NormalizerStep.FromJson(JsonElement.ParseValue(ref reader));
                    break;
                case "pre_tokenizer":
                    wordSplit = WordSplitStep.FromJson(JsonElement.ParseValue(ref reader));
                    break;
                case "added_tokens":
                    foreach (var entry in JsonElement.ParseValue(ref reader).EnumerateArray())
                        added.Add(AddedToken.FromJson(entry.GetProperty("id").GetInt32(), entry));
                    break;
                case "model":
                    model = ReadModel(ref reader);
                    break;
                default:
                    reader.Read();
                    reader.Skip();
                    break;
            }
        }

        var (vocabulary, unknownId) = model ?? throw new InvalidDataException("it has no \"model\"");
        return new T5Definition(vocabulary, new UnigramModel(vocabulary, unknownId), unknownId, normalizer, wordSplit, added);
    }

    private static (UnigramVocabulary Vocabulary, int UnknownId) ReadModel(ref Utf8JsonReader reader)
    {
        UnigramVocabulary? vocabulary = null;
        int? unknownId = null;
        Expect(ref reader, JsonTokenType.StartObject);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (reader.ValueTextEquals("vocab"u8))
            {
                vocabulary = ReadVocabulary(ref reader);
            }
            else if (reader.ValueTextEquals("type"u8))
            {
                reader.Read();
                if (reader.GetString() is var type && type != "Unigram")
                    throw new InvalidDataException($"its model is {type}; a T5 tokenizer has a Unigram model");
            }
            else if (reader.ValueTextEquals("unk_id"u8))
            {
                reader.Read();
                unknownId = reader.GetInt32();
            }
            else if (reader.ValueTextEquals("byte_fallback"u8))
            {
                reader.Read();
                if (reader.GetBoolean())
                    throw new InvalidDataException("byte_fallback is not supported; T5 vocabularies have none");
            }
            else
            {
                reader.Read();
                reader.Skip();
            }
        }

        return (vocabulary ?? throw new InvalidDataException("its model has no \"vocab\""),
            unknownId ?? throw new InvalidDataException("its model has no \"unk_id\""));
    }

    private static UnigramVocabulary ReadVocabulary(ref Utf8JsonReader reader)
    {
        var vocabulary = new UnigramVocabulary();
        var buffer = new byte[256];
        Expect(ref reader, JsonTokenType.StartArray);
        while (reader.Read() && reader.TokenType == JsonTokenType.StartArray)
        {
            Expect(ref reader, JsonTokenType.String);
            if (reader.ValueSpan.Length > buffer.Length)
                buffer = new byte[reader.ValueSpan.Length];
            var piece = buffer.AsSpan(0, reader.CopyString(buffer));
            Expect(ref reader, JsonTokenType.Number);
            vocabulary.Add(piece, reader.GetDouble());
            Expect(ref reader, JsonTokenType.EndArray);
        }

        return vocabulary;
    }

    private static void Expect(ref Utf8JsonReader reader, JsonTokenType type)
    {
        if (!reader.Read() || reader.TokenType != type)
            throw new InvalidDataException($"byte {reader.TokenStartIndex} should begin {type}, not {reader.TokenType}");
    }
}
