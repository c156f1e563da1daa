using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

public class WordTokenizerFilesTests
{
    private static readonly string[] Words = ["a", "moon", "soon", "lemon", "lemonade", "melon", "red", "Blue", "circle", "the",
        "then", "there", "moves", "move", "left", "right", "to", "on", "no", "noon", "naïve", "red"];

    [Fact]
    public void Every_word_is_one_T5_token_numbered_from_3()
    {
        using var folder = new TemporaryFolder();
        WordTokenizerFiles.WriteT5(folder.Path, Words);
        var tokenizer = T5Tokenizer.Load(folder.Path);
        Assert.Equal((0, 1, 2), (tokenizer.PadId, tokenizer.EndId, tokenizer.UnknownId));
        var distinct = Words.Select(w => w.ToLowerInvariant()).Distinct().ToList();
        for (var i = 0; i < distinct.Count; i++)
            Assert.Equal([3 + i, 1], tokenizer.Encode(distinct[i], pad: false).Ids);
        Assert.Equal(distinct.Count + 1, tokenizer.Encode(string.Join(" \n\t", Words.Distinct()), pad: false).Length);
    }

    [Fact]
    public void Other_words_are_spelled_out_in_T5()
    {
        using var folder = new TemporaryFolder();
        WordTokenizerFiles.WriteT5(folder.Path, Words);
        var tokenizer = T5Tokenizer.Load(folder.Path);
        var zebra = tokenizer.Encode("Zebra", pad: false).Ids;
        Assert.Equal(7, zebra.Length);
        Assert.DoesNotContain(tokenizer.UnknownId, zebra);
        var moon = tokenizer.Encode("moon", pad: false).Ids[0];
        Assert.Equal(moon, tokenizer.Encode("MOON, 42!", pad: false).Ids[0]);
        Assert.DoesNotContain(tokenizer.UnknownId, tokenizer.Encode("MOON, 42!", pad: false).Ids);
        Assert.Contains(tokenizer.UnknownId, tokenizer.Encode("猫", pad: false).Ids);
    }

    [Fact]
    public void Every_word_is_one_clip_token()
    {
        using var folder = new TemporaryFolder();
        WordTokenizerFiles.WriteClip(folder.Path, Words);
        var tokenizer = ClipTokenizer.Load(folder.Path);
        Assert.Equal(tokenizer.EndId, tokenizer.PadId);
        Assert.Equal(tokenizer.VocabularySize - 1, tokenizer.EndId);
        var ids = Words.Select(w => tokenizer.Encode(w, pad: false)).ToList();
        Assert.All(ids, t => Assert.Equal(3, t.Length));
        Assert.Equal(Words.Distinct().Count(), ids.Select(t => t.Ids[1]).Distinct().Count());
    }

    [Fact]
    public void Many_random_words_are_one_clip_token_each()
    {
        var random = new Random(3);
        var words = Enumerable.Range(0, 300)
            .Select(_ => string.Concat(Enumerable.Range(0, random.Next(1, 9)).Select(_ => "aeiomn"[random.Next(6)])))
            .Distinct().ToList();
        using var folder = new TemporaryFolder();
        WordTokenizerFiles.WriteClip(folder.Path, words);
        var tokenizer = ClipTokenizer.Load(folder.Path);
        Assert.Equal(words.Count + 2, tokenizer.Encode(string.Join(' ', words), int.MaxValue, pad: false).Length);
    }

    [Fact]
    public void Other_words_are_spelled_out_in_clip()
    {
        using var folder = new TemporaryFolder();
        WordTokenizerFiles.WriteClip(folder.Path, Words);
        var tokenizer = ClipTokenizer.Load(folder.Path);
        var ids = tokenizer.Encode("zky 猫", pad: false).Ids;
        Assert.Equal(2 + 3 + 3, ids.Length);
        Assert.DoesNotContain(tokenizer.EndId, ids[..^1]);
    }

    [Fact]
    public void Refuses_what_cannot_be_one_token()
    {
        using var folder = new TemporaryFolder();
        Assert.Throws<ArgumentException>(() => WordTokenizerFiles.WriteClip(folder.Path, ["blue-green"]));
        Assert.Throws<ArgumentException>(() => WordTokenizerFiles.WriteClip(folder.Path, ["two words"]));
        Assert.Throws<ArgumentException>(() => WordTokenizerFiles.WriteT5(folder.Path, ["two words"]));
        Assert.Throws<ArgumentException>(() => WordTokenizerFiles.WriteT5(folder.Path, [""]));
    }
}
