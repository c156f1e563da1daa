using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Tests.Models.Tokenizers;

public class HostileTokenizerFileTests
{
    private static readonly string T5Folder = Path.Combine(Goldens.Root, "tokenizer", "t5");
    private static readonly string ClipFolder = Path.Combine(Goldens.Root, "tokenizer", "clip");

    [Fact]
    public void Names_the_folder_that_holds_no_tokenizer()
    {
        using var folder = new TemporaryFolder();
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)), "no_tokenizer", ("folder", folder.Path));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => ClipTokenizer.Load(folder.Path)), "file_missing", ("file", folder.File("vocab.json")));
    }

    [Theory]
    [InlineData("")]
    [InlineData("[]")]
    [InlineData("{}")]
    [InlineData("{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":7,\"vocab\":[[\"a\",0]]}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",\"b\"]]}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[]}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",0]]}}")]
    [InlineData("{\"normalizer\":{\"type\":\"Precompiled\",\"precompiled_charsmap\":\"/////w==\"}}")]
    [InlineData("{\"normalizer\":{\"type\":\"NFKC\"}}")]
    [InlineData("{\"normalizer\":7}")]
    [InlineData("{\"added_tokens\":[{\"id\":-1,\"content\":\"x\"}]}")]
    [InlineData("{\"added_tokens\":[{\"id\":2147483647,\"content\":\"x\"}]}")]
    [InlineData("{\"added_tokens\":[{\"id\":1e99,\"content\":\"x\"}]}")]
    [InlineData("{\"added_tokens\":[null]}")]
    [InlineData("{\"added_tokens\":[{\"id\":1,\"content\":null}]}")]
    [InlineData("{\"added_tokens\":[{\"id\":1,\"content\":\"x\",\"lstrip\":1}]}")]
    [InlineData("{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\"a\"},\"content\":null}}")]
    [InlineData("{\"normalizer\":{\"type\":null}}")]
    [InlineData("{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[7]}}")]
    [InlineData("{\"pre_tokenizer\":{\"type\":\"Metaspace\",\"replacement\":null}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"\\ud800\",0]]}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[null,0]]}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":0,\"vocab\":[[\"a\",NaN]]}}")]
    [InlineData("{\"model\":{\"type\":\"Unigram\",\"unk_id\":null,\"vocab\":[[\"a\",0]]}}")]
    public void Refuses_a_wrong_tokenizer_json_by_name(string json)
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", json);
        var error = Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path));
        FaultAssert.Is(error, "tokenizer_unusable", ("file", folder.File("tokenizer.json")));
        foreach (var internals in new[] { "System.", "LineNumber", "JsonTokenType", "Object reference", "given key" })
            Assert.DoesNotContain(internals, error.Message);
    }

    // Fields of a protobuf message: a key (number * 8 + type), then a number, 4 or 8 bytes, or a length and as many bytes.
    public static TheoryData<string, string> WrongMessages => new()
    {
        { "0A05", CheckpointFault.MessageCutOff },                                      // a piece longer than the file
        { "0A030A0561", CheckpointFault.MessageCutOff },                                // a text longer than its piece
        { "0AFFFFFFFF0F", CheckpointFault.MessageCutOff },                              // a length below zero
        { "20FFFFFFFFFFFFFFFFFFFF01", CheckpointFault.MessageCutOff },                  // a number of eleven bytes
        { "0000", CheckpointFault.MessageCutOff },                                      // field 0
        { "0800", CheckpointFault.WrongWireType(0, 2) },                                // a number for a piece
        { "0A0612010A0A0161", CheckpointFault.WrongWireType(2, 5) },                    // a text for a score
        { "23", CheckpointFault.UnknownWireType(3) },                                   // a group
        { "26", CheckpointFault.UnknownWireType(6) },
        { "0A021802", CheckpointFault.PieceWithoutText(0) },
        { "0A030A0161", CheckpointFault.NoUnknownPiece },
        { "12021802", CheckpointFault.NoUnigram(2) },
        { "1203980201", CheckpointFault.NoByteFallback },
    };

    [Theory]
    [MemberData(nameof(WrongMessages))]
    public void Refuses_a_wrong_sentencepiece_model_by_name(string hex, string reason)
    {
        using var folder = new TemporaryFolder();
        folder.Write("spiece.model", Convert.FromHexString(hex));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)), "tokenizer_unusable", ("file", folder.File("spiece.model")), ("reason", reason));
    }

    // Each rule doubles the text or multiplies it by a thousand: what is named in 1.5 KB would be gigabytes.
    [Fact]
    public void Rules_that_multiply_a_text_are_refused_by_name()
    {
        AssertTooLong(Replacements(Enumerable.Repeat(("a", "aa"), 16)));
        AssertTooLong(Replacements([("a", new string('b', 1000)), ("b", new string('c', 1000)), ("c", new string('d', 1000))]));
        AssertTooLong(string.Join(',', Enumerable.Repeat($$"""{"type":"Replace","pattern":{"Regex":" {2,}"},"content":"{{new string(' ', 5000)}}"}""", 3)));
        AssertTooLong($$"""{"type":"Precompiled","precompiled_charsmap":"{{Convert.ToBase64String(Charsmap(100_000))}}"}""");

        static string Replacements(IEnumerable<(string From, string To)> rules) =>
            string.Join(',', rules.Select(rule => $$"""{"type":"Replace","pattern":{"String":"{{rule.From}}"},"content":"{{rule.To}}"}"""));
    }

    [Fact]
    public void More_rules_and_longer_pieces_than_any_tokenizer_has_are_refused()
    {
        AssertRefused(CheckpointFault.TooManySteps("normalizer", 16), string.Join(',', Enumerable.Repeat("""{"type":"Lowercase"}""", 17)));
        AssertRefused(CheckpointFault.TooManySteps("pre_tokenizer", 8), "", string.Join(',', Enumerable.Repeat("""{"type":"WhitespaceSplit"}""", 9)));
        AssertRefused(CheckpointFault.PieceTooLong(3, 600, 512), "", piece: new string('a', 600));
    }

    public static TheoryData<string, string> WrongSettings => new()
    {
        { """{"added_tokens_decoder":{"9223372036854775808":{"content":"!"}}}""", CheckpointFault.NoTokenId("9223372036854775808") },
        { """{"added_tokens_decoder":{"0":"!"}}""", CheckpointFault.MemberMissing("content") },
        { """{"added_tokens_decoder":[]}""", CheckpointFault.MemberOfWrongKind("added_tokens_decoder", "a list", "an object") },
        { """{"bos_token":"\ud800"}""", $"bos_token: this {StrictText.HalfCharacter}" },
        { """{"added_tokens_decoder":{"99999999":{"content":"!"}}}""", CheckpointFault.TokenIdOutOfRange(99_999_999, 1 << 24) },
    };

    [Theory]
    [MemberData(nameof(WrongSettings))]
    public void A_fault_of_the_settings_names_their_file(string settings, string reason)
    {
        using var folder = new TemporaryFolder();
        folder.Copy(ClipFolder, "vocab.json", "merges.txt");
        folder.Write("tokenizer_config.json", settings);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => ClipTokenizer.Load(folder.Path)), "tokenizer_unusable",
            ("file", folder.File("tokenizer_config.json")), ("reason", reason));
    }

    [Fact]
    public void An_added_token_beyond_the_vocabulary_counts_to_its_size()
    {
        using var folder = new TemporaryFolder();
        folder.Copy(ClipFolder, "vocab.json", "merges.txt");
        folder.Write("tokenizer_config.json", """{"added_tokens_decoder":{"70000":{"content":"<new>"}}}""");
        var tokenizer = ClipTokenizer.Load(folder.Path);
        Assert.Contains(70000, tokenizer.Encode("a <new> cat").Ids);
        Assert.Equal(70001, tokenizer.VocabularySize);
    }

    private static void AssertTooLong(string normalizers)
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", Json(normalizers));
        var tokenizer = T5Tokenizer.Load(folder.Path);
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => tokenizer.Encode("aaaa  aaaa  aaaa")), "tokenizer_unusable",
            ("file", folder.File("tokenizer.json")), ("reason", CheckpointFault.TextTooLong(1536)));
    }

    private static void AssertRefused(string reason, string normalizers, string cuts = "", string piece = "a")
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", Json(normalizers, cuts, piece));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)), "tokenizer_unusable", ("file", folder.File("tokenizer.json")), ("reason", reason));
    }

    private static string Json(string normalizers, string cuts = "", string piece = "a") => $$$"""
        {"normalizer":{"type":"Sequence","normalizers":[{{{normalizers}}}]},"pre_tokenizer":{"type":"Sequence","pretokenizers":[{{{cuts}}}]},
        "model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],["{{{piece}}}",-1]]}}
        """;

    // Compiled rules of one character, a, with a long replacement: the array's first unit leads to that of a, which leads to its value.
    private static byte[] Charsmap(int length)
    {
        var units = new uint[512];
        units[0] = 256u << 10;
        units[256 ^ 'a'] = (128u << 10) | 0x100 | 'a';
        units[(256 ^ 'a') ^ 128] = 0;
        return [.. BitConverter.GetBytes(units.Length * 4), .. units.SelectMany(BitConverter.GetBytes), .. Enumerable.Repeat((byte)'b', length), 0];
    }

    [Theory]
    [InlineData("[1]", "a b")]
    [InlineData("{\"a\": \"b\"}", "a b")]
    [InlineData("{\"a\": -4}", "a b")]
    [InlineData("{\"a\": 1}", "a b")]
    [InlineData("{\"<|endoftext|>\": 1, \"<|startoftext|>\": 0}", "a b c")]
    public void Refuses_wrong_clip_files(string vocabulary, string merge)
    {
        using var folder = new TemporaryFolder();
        folder.Write("vocab.json", vocabulary);
        folder.Write("merges.txt", "#version: 0.2\n" + merge + "\n");
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => ClipTokenizer.Load(folder.Path)), "tokenizer_unusable");
    }

    [Fact]
    public void A_damaged_file_is_refused_by_name_or_still_gives_ids_in_range()
    {
        using var folder = new TemporaryFolder();
        var random = new Random(5);
        foreach (var (source, name) in new[] { (T5Folder, "spiece.model"), (T5Folder, "tokenizer.json"), (ClipFolder, "vocab.json"),
            (ClipFolder, "merges.txt") })
        {
            var whole = File.ReadAllBytes(Path.Combine(source, name));
            for (var round = 0; round < 40; round++)
            {
                var bytes = round % 2 == 0 ? whole[..random.Next(whole.Length)] : (byte[])whole.Clone();
                for (var hits = 0; hits < 8 && bytes.Length > 0; hits++)
                    bytes[random.Next(Math.Min(bytes.Length, round % 4 == 1 ? 300 : bytes.Length))] = (byte)random.Next(256);
                EncodeOrRefuse(source, name, bytes);
            }
        }
    }

    private static void EncodeOrRefuse(string source, string name, byte[] bytes)
    {
        using var folder = new TemporaryFolder();
        if (source == ClipFolder)
            folder.Copy(source, "vocab.json", "merges.txt");
        File.WriteAllBytes(folder.File(name), bytes);
        try
        {
            var (ids, size) = source == ClipFolder ? Clip(folder.Path) : T5(folder.Path);
            Assert.All(ids, id => Assert.InRange(id, 0, size - 1));
        }
        catch (CheckpointException e)
        {
            FaultAssert.Is(e, "tokenizer_unusable");
            Assert.StartsWith(folder.Path, (string)e.Parameters["file"]!, StringComparison.Ordinal);
        }
    }

    private const string Text = "A Cinematic shot, ﬁne ① cat's é 中文 8K <extra_id_3>";

    private static (long[] Ids, int Size) Clip(string folder)
    {
        var tokenizer = ClipTokenizer.Load(folder);
        return (tokenizer.Encode(Text).Ids, tokenizer.VocabularySize);
    }

    private static (long[] Ids, int Size) T5(string folder)
    {
        var tokenizer = T5Tokenizer.Load(folder);
        return (tokenizer.Encode(Text).Ids, tokenizer.VocabularySize);
    }
}
