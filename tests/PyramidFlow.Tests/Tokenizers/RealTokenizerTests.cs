using System.Text.Json;
using PyramidFlow.Testing;
using PyramidFlow.Tokenizers;

namespace PyramidFlow.Tests.Tokenizers;

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
    public void Clip_L_gives_every_recorded_id_on_which_the_two_reference_tokenizers_agree()
    {
        var tokenizer = ClipTokenizer.Load(Folder("clip-l"));
        Assert.Equal(49407, tokenizer.PadId);
        foreach (var vector in Vectors().Where(v => v.GetProperty("clip_agree").GetBoolean()))
        {
            var text = vector.GetProperty("text").GetString()!;
            AssertIds(text, vector.GetProperty("clip"), tokenizer.Encode(text, pad: false));
        }
    }

    [Fact]
    public void Clip_sets_cjk_characters_apart_and_drops_format_characters()
    {
        var tokenizer = ClipTokenizer.Load(Folder("clip-l"));
        Assert.Equal(tokenizer.Encode("中 文 a").Ids, tokenizer.Encode("中文a").Ids);
        Assert.Equal(tokenizer.Encode("zerowidth").Ids, tokenizer.Encode("zero\u200Bwidth").Ids);
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
