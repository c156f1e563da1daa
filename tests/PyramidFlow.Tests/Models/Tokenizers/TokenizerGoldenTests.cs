using System.Runtime.InteropServices;
using PyramidFlow.Testing;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.Tests.Models.Tokenizers;

[Trait("golden", "tokenizer")]
public class TokenizerGoldenTests
{
    public static TheoryData<string> ClipCases => Goldens.Names("clip_tokenizer");

    public static TheoryData<string> T5Cases => Goldens.Names("t5_tokenizer");

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(ClipCases))]
    public void Clip_ids_and_masks_equal_the_recorded_ones(string name)
    {
        using var golden = Goldens.Open("clip_tokenizer", name);
        var tokenizer = ClipTokenizer.Load(Folder(golden));
        AssertEqual(golden, (text, maxLength) => tokenizer.Encode(text, maxLength));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(T5Cases))]
    public void T5_ids_and_masks_equal_the_recorded_ones(string name)
    {
        using var golden = Goldens.Open("t5_tokenizer", name);
        var tokenizer = T5Tokenizer.Load(Folder(golden));
        AssertEqual(golden, (text, maxLength) => tokenizer.Encode(text, maxLength));
    }

    [Theory(SkipTestWithoutData = true)]
    [MemberData(nameof(T5Cases))]
    public void T5_ids_from_the_sentencepiece_model_equal_the_recorded_ones(string name)
    {
        using var golden = Goldens.Open("t5_tokenizer", name);
        if (!File.Exists(Path.Combine(Folder(golden), "spiece.model")))
            Assert.Skip("this case has no spiece.model");
        using var folder = new TemporaryFolder();
        folder.Copy(Folder(golden), "spiece.model", "tokenizer_config.json");
        var tokenizer = T5Tokenizer.Load(folder.Path);
        AssertEqual(golden, (text, maxLength) => tokenizer.Encode(text, maxLength));
    }

    private static string Folder(GoldenCase golden) =>
        Path.Combine(Goldens.Root, golden.Config.GetProperty("directory").GetString()!);

    private static void AssertEqual(GoldenCase golden, Func<string, int, Tokenized> encode)
    {
        var maxLength = (int)golden.File.Entries["out/input_ids"].Shape[1];
        var texts = golden.Config.GetProperty("texts").EnumerateArray().Select(t => t.GetString()!).ToArray();
        var actual = texts.Select(t => encode(t, maxLength)).ToArray();
        Assert.NotEmpty(actual);
        Assert.Equal(Int64(golden, "out/input_ids"), actual.SelectMany(a => a.Ids));
        Assert.Equal(Int64(golden, "out/attention_mask"), actual.SelectMany(a => a.AttentionMask()));
    }

    private static long[] Int64(GoldenCase golden, string name) =>
        MemoryMarshal.Cast<byte, long>(golden.File.Bytes(name)).ToArray();
}
