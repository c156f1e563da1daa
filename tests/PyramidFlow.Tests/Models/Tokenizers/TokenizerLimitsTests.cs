using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

public class TokenizerLimitsTests
{
    private static readonly T5Tokenizer T5 = T5Tokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "t5"));
    private static readonly ClipTokenizer Clip = ClipTokenizer.Load(Path.Combine(Goldens.Root, "tokenizer", "clip"));

    [Fact]
    public void Reports_a_text_that_was_cut_and_keeps_the_end_token()
    {
        var whole = T5.Encode("a cat sitting on a table", 128);
        Assert.False(whole.Truncated);
        var cut = T5.Encode("a cat sitting on a table", 4);
        Assert.True(cut.Truncated);
        Assert.Equal([.. whole.Ids[..3], T5.EndId], cut.Ids);
        Assert.Equal(whole.Length, cut.FullLength);

        var cutClip = Clip.Encode("a cat sitting on a table", 4);
        Assert.True(cutClip.Truncated);
        Assert.Equal(Clip.EndId, cutClip.Ids[^1]);
    }

    [Fact]
    public void A_text_that_just_fits_is_not_reported_as_cut()
    {
        var length = Clip.Encode("a cat sitting on a table").Length;
        Assert.False(Clip.Encode("a cat sitting on a table", length).Truncated);
        Assert.True(Clip.Encode("a cat sitting on a table", length - 1).Truncated);
    }

    [Fact]
    public void Refuses_a_length_without_room_for_the_special_tokens()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => T5.Encode("a", 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => Clip.Encode("a", 1));
    }

    [Fact]
    public void Recognises_added_tokens_inside_text()
    {
        var ids = T5.Encode("a<pad>a <extra_id_0> a</s>", 64, pad: false).Ids;
        Assert.Equal(1, ids.Count(id => id == T5.PadId));
        Assert.Equal(2, ids.Count(id => id == T5.EndId));
        Assert.Equal(1, ids.Count(id => id == T5.VocabularySize - 1));

        var clip = Clip.Encode("<|startoftext|>a<|endoftext|>", pad: false).Ids;
        Assert.Equal([Clip.StartId, Clip.StartId, Clip.EndId, Clip.EndId], clip.Where(id => id == Clip.StartId || id == Clip.EndId));
        Assert.Equal(clip, Clip.Encode("<|STARTOFTEXT|>a<|EndOfText|>", pad: false).Ids);
    }

    [Fact]
    public void A_run_of_unknown_characters_is_one_unknown_token()
    {
        var ids = T5.Encode("a 猫猫猫 a", 64, pad: false).Ids;
        Assert.Equal(1, ids.Count(id => id == T5.UnknownId));
    }

    [Fact]
    public void Applies_the_compiled_normalisation()
    {
        Assert.Equal(T5.Encode("fine 1 ABC ...").Ids, T5.Encode("ﬁne\u3000① ＡＢＣ\t…").Ids);
    }
}
