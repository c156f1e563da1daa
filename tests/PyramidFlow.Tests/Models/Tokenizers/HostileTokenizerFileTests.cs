using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models.Tokenizers;

public class HostileTokenizerFileTests
{
    private static readonly string T5Folder = Path.Combine(Goldens.Root, "tokenizer", "t5");
    private static readonly string ClipFolder = Path.Combine(Goldens.Root, "tokenizer", "clip");

    [Fact]
    public void Names_the_folder_that_holds_no_tokenizer()
    {
        using var folder = new TemporaryFolder();
        Assert.Contains(folder.Path, Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)).Message);
        Assert.Contains("vocab.json", Assert.Throws<CheckpointException>(() => ClipTokenizer.Load(folder.Path)).Message);
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
        var message = Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)).Message;
        Assert.Contains("tokenizer.json", message);
        foreach (var internals in new[] { "System.", "LineNumber", "JsonTokenType", "Object reference", "given key" })
            Assert.DoesNotContain(internals, message);
    }

    // Fields of a protobuf message: a key (number * 8 + type), then a number, 4 or 8 bytes, or a length and as many bytes.
    [Theory]
    [InlineData("0A05", "cut off or damaged")]                                       // a piece longer than the file
    [InlineData("0A030A0561", "cut off or damaged")]                                 // a text longer than its piece
    [InlineData("0AFFFFFFFF0F", "cut off or damaged")]                               // a length below zero
    [InlineData("20FFFFFFFFFFFFFFFFFFFF01", "cut off or damaged")]                   // a number of eleven bytes
    [InlineData("0000", "cut off or damaged")]                                       // field 0
    [InlineData("0800", "a field has wire type 0 in place of 2")]                    // a number for a piece
    [InlineData("0A0612010A0A0161", "a field has wire type 2 in place of 5")]        // a text for a score
    [InlineData("23", "wire type 3 is unknown")]                                     // a group
    [InlineData("26", "wire type 6 is unknown")]
    [InlineData("0A021802", "piece 0 has no text")]
    [InlineData("0A030A0161", "it has no piece for unknown text")]
    [InlineData("12021802", "its model type is 2")]
    [InlineData("1203980201", "byte_fallback is not supported")]
    public void Refuses_a_wrong_sentencepiece_model_by_name(string hex, string message)
    {
        using var folder = new TemporaryFolder();
        folder.Write("spiece.model", Convert.FromHexString(hex));
        var error = Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)).Message;
        Assert.StartsWith($"{folder.File("spiece.model")} is not a usable tokenizer file: ", error);
        Assert.Contains(message, error);
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
        Assert.Contains("more than 16 steps", Refused(string.Join(',', Enumerable.Repeat("""{"type":"Lowercase"}""", 17))));
        Assert.Contains("more than 8 steps", Refused("", string.Join(',', Enumerable.Repeat("""{"type":"WhitespaceSplit"}""", 9))));
        Assert.Contains("piece 3 has 600 bytes", Refused("", piece: new string('a', 600)));
    }

    [Theory]
    [InlineData("{\"added_tokens_decoder\":{\"9223372036854775808\":{\"content\":\"!\"}}}", "the key \"9223372036854775808\"")]
    [InlineData("{\"added_tokens_decoder\":{\"0\":\"!\"}}", "lacks \"content\"")]
    [InlineData("{\"added_tokens_decoder\":[]}", "a list where an object belongs")]
    [InlineData("{\"bos_token\":\"\\ud800\"}", "bos_token: this holds half of a character")]
    [InlineData("{\"added_tokens_decoder\":{\"99999999\":{\"content\":\"!\"}}}", "is not one of 0 to")]
    public void A_fault_of_the_settings_names_their_file(string settings, string message)
    {
        using var folder = new TemporaryFolder();
        folder.Copy(ClipFolder, "vocab.json", "merges.txt");
        folder.Write("tokenizer_config.json", settings);
        var error = Assert.Throws<CheckpointException>(() => ClipTokenizer.Load(folder.Path)).Message;
        Assert.Contains("tokenizer_config.json is not a usable tokenizer file", error);
        Assert.Contains(message, error);
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
        var message = Assert.Throws<CheckpointException>(() => tokenizer.Encode("aaaa  aaaa  aaaa")).Message;
        Assert.Contains(folder.File("tokenizer.json"), message);
        Assert.Contains("characters of a text", message);
    }

    private static string Refused(string normalizers, string cuts = "", string piece = "a")
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", Json(normalizers, cuts, piece));
        return Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)).Message;
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
        Assert.Contains(folder.Path, Assert.Throws<CheckpointException>(() => ClipTokenizer.Load(folder.Path)).Message);
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
            Assert.Contains(folder.Path, e.Message);
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
