using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

public class TokenizerPropertyTests
{
    [Fact]
    public void Any_text_gives_the_same_well_formed_T5_ids_each_time()
    {
        var tokenizer = T5Tokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "t5"));
        foreach (var text in RandomText.Many(seed: 1, count: 1000))
        {
            var ids = tokenizer.Encode(text, 64);
            Assert.Equal(ids.Ids, tokenizer.Encode(text, 64).Ids);
            Assert.Equal(64, ids.Ids.Length);
            Assert.Equal(tokenizer.EndId, ids.Ids[ids.Length - 1]);
            Assert.All(ids.Ids, id => Assert.InRange(id, 0, tokenizer.VocabularySize - 1));
            Assert.All(ids.Ids[ids.Length..], id => Assert.Equal(tokenizer.PadId, id));
            Assert.Equal(ids.FullLength, tokenizer.Encode(text, int.MaxValue, pad: false).Ids.Length);
        }
    }

    [Fact]
    public void Any_text_gives_the_same_well_formed_clip_ids_each_time()
    {
        var tokenizer = ClipTokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "clip"));
        foreach (var text in RandomText.Many(seed: 2, count: 1000))
        {
            var ids = tokenizer.Encode(text, 24);
            Assert.Equal(ids.Ids, tokenizer.Encode(text, 24).Ids);
            Assert.Equal(24, ids.Ids.Length);
            Assert.Equal(tokenizer.StartId, ids.Ids[0]);
            Assert.Equal(tokenizer.EndId, ids.Ids[ids.Length - 1]);
            Assert.All(ids.Ids, id => Assert.InRange(id, 0, tokenizer.VocabularySize - 1));
            Assert.Equal(ids.FullLength, tokenizer.Encode(text, int.MaxValue, pad: false).Ids.Length);
        }
    }

    [Fact]
    public void Very_long_words_and_prompts_are_encoded_whole()
    {
        var clip = ClipTokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "clip"));
        var t5 = T5Tokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "t5"));
        string[] texts = [new('a', 200_000), new('<', 200_000), new(' ', 200_000), string.Concat(Enumerable.Repeat("the ", 50_000)),
            "e" + new string('\u0301', 100_000)];
        foreach (var text in texts)
        {
            Assert.Equal(clip.Encode(text, 77).FullLength, clip.Encode(text, int.MaxValue, pad: false).Length);
            Assert.Equal(t5.Encode(text, 128).FullLength, t5.Encode(text, int.MaxValue, pad: false).Length);
        }

        Assert.Equal(50_002, clip.Encode(texts[3], int.MaxValue, pad: false).Length);
        Assert.Equal(2, clip.Encode(texts[2]).Length);
        Assert.Equal(1, t5.Encode(texts[2]).Length);
    }
}
