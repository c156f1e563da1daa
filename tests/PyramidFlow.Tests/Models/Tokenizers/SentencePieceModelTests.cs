using System.Text.Json;
using Google.Protobuf;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

/// <summary>Files of SentencePiece, written here field by field: the released vocabulary has only one form of each.</summary>
public class SentencePieceModelTests
{
    private const int Normal = 1, Unknown = 2, Control = 3;

    [Fact]
    public void Special_pieces_are_tokens_of_their_own_and_sentinels_count_downwards()
    {
        var definition = Parse("""{"extra_ids":3}""", Piece("<unk>", Unknown), Piece("</s>", Control), Piece("a", Normal));

        Assert.Equal(0, definition.UnknownId);
        Assert.Equal(
            [
                new(0, "<unk>"), new(1, "</s>"), new(5, "<extra_id_0>", StripLeft: true, StripRight: true), new(4, "<extra_id_1>", StripLeft: true, StripRight: true),
                new(3, "<extra_id_2>", StripLeft: true, StripRight: true),
            ],
            definition.AddedTokens);
        Assert.Equal([new NormalizerStep.Strip(Left: false, Right: true), new NormalizerStep.ReplaceSpaceRuns("▁")], definition.Normalizer);
        Assert.Equal([new WordSplitStep.Metaspace('▁', WordSplitStep.PrefixScheme.Always, Splits: true)], definition.WordSplit);
    }

    [Fact]
    public void Tokens_of_the_settings_come_first_and_are_not_added_again()
    {
        var definition = Parse("""{"extra_ids":2,"added_tokens_decoder":{"7":{"content":"</s>"},"9":{"content":"<extra_id_0>"}}}""", Piece("<unk>", Unknown), Piece("</s>", Control));

        Assert.Equal([new(7, "</s>"), new(9, "<extra_id_0>"), new(0, "<unk>"), new(2, "<extra_id_1>", StripLeft: true, StripRight: true)], definition.AddedTokens);
    }

    [Theory]
    [InlineData("{}", 100)]
    [InlineData("""{"extra_ids":0}""", 0)]
    [InlineData("""{"extra_ids":100000}""", 100_000)]
    public void The_number_of_sentinels_is_that_of_the_settings(string settings, int count) =>
        Assert.Equal(count, Parse(settings, Piece("<unk>", Unknown)).AddedTokens.Count - 1);

    [Theory]
    [InlineData("-1")]
    [InlineData("100001")]
    [InlineData("1.5")]
    [InlineData("\"2\"")]
    public void A_number_of_sentinels_that_none_can_be_is_refused(string count) =>
        Assert.Throws<InvalidDataException>(() => Parse($$"""{"extra_ids":{{count}}}""", Piece("<unk>", Unknown)));

    [Theory]
    [InlineData(true, WordSplitStep.PrefixScheme.Always)]
    [InlineData(false, WordSplitStep.PrefixScheme.Never)]
    public void Whether_a_text_begins_with_a_space_is_written_in_the_file(bool begins, object prefix)
    {
        var rules = Message(output =>
        {
            output.WriteTag(1, WireFormat.WireType.LengthDelimited);        // its name, which says nothing
            output.WriteString("identity");
            output.WriteTag(3, WireFormat.WireType.Varint);
            output.WriteBool(begins);
        });

        var definition = Parse("{}", Piece("<unk>", Unknown), (3, rules));

        Assert.Equal(prefix, Assert.IsType<WordSplitStep.Metaspace>(Assert.Single(definition.WordSplit)).Prefix);
    }

    [Fact]
    public void Fields_that_no_reader_needs_are_passed_over()
    {
        var trainer = Message(output =>
        {
            output.WriteTag(1, WireFormat.WireType.LengthDelimited);
            output.WriteString("corpus.txt");
            output.WriteTag(3, WireFormat.WireType.Varint);
            output.WriteInt32(1);
        });
        var test = Message(output => output.WriteRawTag(0x0A, 0x01, 0x61));

        var definition = Parse("""{"extra_ids":0}""", Piece("<unk>", Unknown), (2, trainer), (4, test), Piece("b", Normal));

        Assert.Equal(2, definition.Vocabulary.Count);
    }

    [Theory]
    [InlineData("""{"model":{"type":"Unigram","unk_id":0.5,"vocab":[["a",0]]}}""", "unk_id")]
    [InlineData("""{"added_tokens":[{"id":1.5,"content":"x"}],"model":{"type":"Unigram","unk_id":0,"vocab":[["a",0]]}}""", "added token 0")]
    [InlineData("""{"added_tokens":[{"id":1,"content":""}],"model":{"type":"Unigram","unk_id":0,"vocab":[["a",0]]}}""", "0 characters")]
    public void A_number_or_text_that_no_token_has_is_refused_by_name(string json, string named) =>
        Assert.Contains(named, Assert.Throws<InvalidDataException>(() => T5JsonReader.Parse(System.Text.Encoding.UTF8.GetBytes(json))).Message, StringComparison.Ordinal);

    [Theory]
    [InlineData("ab", "0")]
    [InlineData("b ab", "2")]
    [InlineData("ab_", "")]
    [InlineData("9ab", "")]
    [InlineData("ab.ab", "0 3")]
    public void A_token_that_is_a_whole_word_matches_no_part_of_one(string text, string starts)
    {
        var splitter = new AddedTokenSplitter([new AddedToken(7, "ab", SingleWord: true)]);
        Assert.Equal(starts, string.Join(' ', splitter.Split(text).Where(segment => segment.Id == 7).Select(segment => segment.Start)));
    }

    private static T5Definition Parse(string settings, params (int Field, byte[] Content)[] fields)
    {
        using var document = JsonDocument.Parse(settings);
        var file = Message(output =>
        {
            foreach (var (field, content) in fields)
            {
                output.WriteTag(field, WireFormat.WireType.LengthDelimited);
                output.WriteBytes(ByteString.CopyFrom(content));
            }
        });
        return T5SentencePieceReader.Parse(file, document.RootElement);
    }

    private static (int Field, byte[] Content) Piece(string text, int type) => (1, Message(output =>
    {
        output.WriteTag(1, WireFormat.WireType.LengthDelimited);
        output.WriteString(text);
        output.WriteTag(2, WireFormat.WireType.Fixed32);
        output.WriteFloat(-1);
        output.WriteTag(3, WireFormat.WireType.Varint);
        output.WriteInt32(type);
    }));

    private static byte[] Message(Action<CodedOutputStream> write)
    {
        using var bytes = new MemoryStream();
        using (var output = new CodedOutputStream(bytes, leaveOpen: true))
            write(output);
        return bytes.ToArray();
    }
}
