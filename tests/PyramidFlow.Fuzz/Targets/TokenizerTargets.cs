using System.Text;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Torch;

namespace PyramidFlow.Fuzz.Targets;

/// <summary>Files of tokenizers, and prompts.</summary>
internal static class TokenizerTargets
{
    private const string Goldens = "tests/goldens/tokenizer/";
    private const string Prompt = "a small red circle moving right 😀 don’t";

    public static IEnumerable<FuzzTarget> All()
    {
        Type[] checkpoint = [typeof(CheckpointException)];
        byte[][] words = FuzzTargets.Utf8("\"added_tokens\":[", "\"id\":2147483647", "\"unk_id\":", "\"normalizer\":{\"type\":", "\"content\":\"\"", "\"Precompiled\"", "\"Replace\"", "null", "\"\\ud83d\"");
        foreach (var file in (string[])["tokenizer.json", "spiece.model", "tokenizer_config.json"])
            yield return new($"t5-{file[..file.IndexOf('.')]}", Changed("t5", file, folder => Check(T5Tokenizer.Load(folder))), checkpoint, [FuzzTargets.Seed($"{Goldens}t5/{file}")], words);
        foreach (var file in (string[])["vocab.json", "merges.txt", "tokenizer_config.json", "special_tokens_map.json"])
            yield return new($"clip-{file[..file.IndexOf('.')]}", Changed("clip", file, folder => Check(ClipTokenizer.Load(folder))), checkpoint, [FuzzTargets.Seed($"{Goldens}clip/{file}")], words);

        var (t5, clip) = (T5Tokenizer.Load(Path.Combine(FuzzTargets.Repository, Goldens, "t5")), ClipTokenizer.Load(Path.Combine(FuzzTargets.Repository, Goldens, "clip")));
        yield return new("prompt", input =>
        {
            var text = Encoding.UTF8.GetString(input);
            if (t5.Encode(text).Ids.Any(id => id < 0 || id >= t5.VocabularySize) || clip.Encode(text).Ids.Any(id => id < 0 || id >= clip.VocabularySize))
                throw new WrongResultException("an id outside the vocabulary");
        }, [], FuzzTargets.Utf8(Prompt, "l’humanitÃ© âœ” &lt;b&gt; ﬁ Ａ", "<|endoftext|></s><pad>"), FuzzTargets.Utf8("Ã", "â€™", "&amp;", "&#x1F600;", "\u0301", "\u200D", "\u001b[31m", "ﬂ", "\r\n", "<extra_id_0>"));
    }

    // A folder of a golden tokenizer in which one file is the input.
    private static Action<byte[]> Changed(string kind, string file, Action<string> read)
    {
        var folder = Directory.CreateDirectory(Path.Combine(FuzzTargets.Folder, $"{kind}-{file}")).FullName;
        foreach (var original in Directory.EnumerateFiles(Path.Combine(FuzzTargets.Repository, Goldens, kind)))
        {
            if (file != "spiece.model" || Path.GetFileName(original) != "tokenizer.json")
                File.Copy(original, Path.Combine(folder, Path.GetFileName(original)), overwrite: true);
        }

        return input =>
        {
            File.WriteAllBytes(Path.Combine(folder, file), input);
            read(folder);
        };
    }

    private static void Check(T5Tokenizer tokenizer) => Check(tokenizer.Encode(Prompt).Ids, tokenizer.VocabularySize);

    private static void Check(ClipTokenizer tokenizer) => Check(tokenizer.Encode(Prompt).Ids, tokenizer.VocabularySize);

    private static void Check(IEnumerable<long> ids, int rows)
    {
        if (ids.Any(id => id < 0 || id >= rows))
            throw new WrongResultException("an id outside the vocabulary");
    }
}
