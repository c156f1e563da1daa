using PyramidFlow.Testing;
using PyramidFlow.Tokenizers;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Tokenizers;

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
    public void Refuses_a_wrong_tokenizer_json_by_name(string json)
    {
        using var folder = new TemporaryFolder();
        folder.Write("tokenizer.json", json);
        Assert.Contains("tokenizer.json", Assert.Throws<CheckpointException>(() => T5Tokenizer.Load(folder.Path)).Message);
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
