using BenchmarkDotNet.Attributes;
using PyramidFlow.Models.Tokenizers;

namespace PyramidFlow.MicroBenchmarks;

/// <summary>
/// A prompt to token ids: with the vocabularies of the sprites model, or with the released ones in the folder that
/// <c>PYRAMIDFLOW_TOKENIZERS</c> names (<c>clip-l</c> and <c>t5</c> in it).
/// </summary>
[MemoryDiagnoser]
public class Tokenizers
{
    private const string Prompt = "A movie trailer featuring the adventures of the 30 year old space man wearing a red wool knitted motorcycle helmet, "
        + "blue sky, salt desert, cinematic style, shot on 35mm film, vivid colors";

    private ClipTokenizer clip = null!;
    private T5Tokenizer t5 = null!;

    /// <summary>Reads the vocabularies.</summary>
    [GlobalSetup]
    public void SetUp()
    {
        var root = Environment.GetEnvironmentVariable("PYRAMIDFLOW_TOKENIZERS");
        string Folder(string released, string sprites) => string.IsNullOrEmpty(root) ? Repository.Find("models", "sprites", sprites) : Path.Combine(root, released);
        (clip, t5) = (ClipTokenizer.Load(Folder("clip-l", "tokenizer")), T5Tokenizer.Load(Folder("t5", "tokenizer_2")));
    }

    /// <summary>Byte pairs.</summary>
    [Benchmark]
    public Tokenized Clip() => clip.Encode(Prompt);

    /// <summary>The most likely split into pieces.</summary>
    [Benchmark]
    public Tokenized T5() => t5.Encode(Prompt);
}
