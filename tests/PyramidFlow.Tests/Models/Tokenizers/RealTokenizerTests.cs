using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

/// <summary>The released vocabularies, which are too big for the repository: folder named by PYRAMIDFLOW_TOKENIZERS.</summary>
[Trait("tokenizers", "real")]
public class RealTokenizerTests
{
    [Fact]
    public void T5_from_tokenizer_json_gives_every_recorded_id() => AssertT5(T5Tokenizer.Load(Folder("t5")));

    [Fact]
    public void T5_from_the_sentencepiece_model_gives_every_recorded_id()
    {
        using var folder = new TemporaryFolder();
        folder.Copy(Folder("t5"), "spiece.model", "tokenizer_config.json");
        AssertT5(T5Tokenizer.Load(folder.Path));
        File.Delete(folder.File("tokenizer_config.json"));
        AssertT5(T5Tokenizer.Load(folder.Path));
    }

    [Fact]
    public void T5_from_both_files_agrees_on_random_text()
    {
        using var folder = new TemporaryFolder();
        folder.Copy(Folder("t5"), "spiece.model");
        var fromJson = T5Tokenizer.Load(Folder("t5"));
        var fromModel = T5Tokenizer.Load(folder.Path);
        foreach (var text in RandomText.Many(seed: 11, count: 500))
        {
            Assert.Equal(fromJson.Encode(text, int.MaxValue, pad: false).Ids,
                fromModel.Encode(text, int.MaxValue, pad: false).Ids);
        }
    }

    [Fact]
    public void Clip_L_gives_every_recorded_id_of_texts_that_need_no_mending()
    {
        var tokenizer = ClipTokenizer.Load(Folder("clip-l"));
        Assert.Equal(49407, tokenizer.PadId);
        var sound = Vectors().Where(v => v.GetProperty("text").GetString() is { } text && !text.AsSpan().ContainsAny("’“”ﬁ：ﾊ")).ToList();
        Assert.Equal(65, sound.Count);
        foreach (var vector in sound)
        {
            var text = vector.GetProperty("text").GetString()!;
            AssertIds(text, vector.GetProperty("clip"), tokenizer.Encode(text, pad: false));
        }
    }

    [Theory]
    [InlineData("don’t (curly)", "don't (curly)")]
    [InlineData("“smart quotes” – en—em … dashes", "\"smart quotes\" – en—em … dashes")]
    [InlineData("ﬁne ﬂow ½ ² ™ ①", "fine flow ½ ² ™ ①")]
    [InlineData("ﾊﾝｶｸ ＦＵＬＬＷＩＤＴＨ", "ハンカク FULLWIDTH")]
    [InlineData("中文提示词：一只猫在月球上", "中文提示词:一只猫在月球上")]
    [InlineData("salt &amp; sand, 3 &lt; 5", "salt & sand, 3 < 5")]
    [InlineData("a cafÃ© at night â€” neon", "a café at night — neon")]
    [InlineData("\uFEFFa cat\u0085 and\u0000 a\u2028dog\r\n", "a cat… and a\ndog\n")]
    public void Clip_L_gives_mended_text_the_ids_of_what_it_was_meant_to_be(string text, string meant)
    {
        var tokenizer = ClipTokenizer.Load(Folder("clip-l"));
        Assert.Equal(tokenizer.Encode(meant).Ids, tokenizer.Encode(text).Ids);
        Assert.NotEqual(2, tokenizer.Encode(text).Length);
    }

    [Fact]
    public void Clip_L_knows_the_words_of_mended_text()
    {
        var tokenizer = ClipTokenizer.Load(Folder("clip-l"));
        Assert.Equal([49406, 847, 713, 49407], tokenizer.Encode("don’t", pad: false).Ids);
        Assert.Equal([49406, 3797, 5608, 49407], tokenizer.Encode("ﬁne ﬂow", pad: false).Ids);
        Assert.Equal([49406, 9407, 23571, 49407], tokenizer.Encode("ＦＵＬＬＷＩＤＴＨ", pad: false).Ids);
    }

    [Fact]
    public void Clip_keeps_cjk_characters_together_and_characters_of_no_width()
    {
        var tokenizer = ClipTokenizer.Load(Folder("clip-l"));
        Assert.NotEqual(tokenizer.Encode("中 文 a").Ids, tokenizer.Encode("中文a").Ids);
        Assert.NotEqual(tokenizer.Encode("zerowidth").Ids, tokenizer.Encode("zero\u200Bwidth").Ids);
    }

    [Fact]
    public void Clip_G_pads_with_an_exclamation_mark_and_keeps_it_a_token_of_its_own()
    {
        using var folder = new TemporaryFolder();
        folder.Copy(Folder("clip-l"), "vocab.json", "merges.txt");
        folder.Copy(Folder("clip-g"), "tokenizer_config.json", "special_tokens_map.json");
        var tokenized = ClipTokenizer.Load(folder.Path).Encode("a cat!");
        Assert.Equal([49406, 320, 2368, 0, 49407, 0, 0], tokenized.Ids[..7]);
        Assert.Equal(5, tokenized.Length);
    }

    private static void AssertT5(T5Tokenizer tokenizer)
    {
        Assert.Equal(32100, tokenizer.VocabularySize);
        foreach (var vector in Vectors())
        {
            var text = vector.GetProperty("text").GetString()!;
            AssertIds(text, vector.GetProperty("t5"), tokenizer.Encode(text, pad: false));
        }
    }

    private static void AssertIds(string text, JsonElement expected, Tokenized actual)
    {
        var wanted = string.Join(' ', expected.EnumerateArray().Select(e => e.GetInt64()));
        Assert.Equal($"{text}: {wanted}", $"{text}: {string.Join(' ', actual.Ids)}");
    }

    private static List<JsonElement> Vectors()
    {
        using var document = JsonDocument.Parse(File.ReadAllBytes(Folder("vectors.json")));
        List<JsonElement> vectors = [.. document.RootElement.Clone().EnumerateArray()];
        Assert.NotEmpty(vectors);
        return vectors;
    }

    private static string Folder(string name)
    {
        var root = Environment.GetEnvironmentVariable("PYRAMIDFLOW_TOKENIZERS");
        if (string.IsNullOrEmpty(root))
            Assert.Skip("PYRAMIDFLOW_TOKENIZERS does not name the folder of the released vocabularies");
        return Path.Combine(root, name);
    }
}
