namespace PyramidFlow.Models.Tokenizers;

/// <summary>What the files of a T5 tokenizer folder say, whichever format they are in.</summary>
internal sealed record T5Definition(
    UnigramVocabulary Vocabulary,
    UnigramModel Model,
    int UnknownId,
    IReadOnlyList<NormalizerStep> Normalizer,
    IReadOnlyList<WordSplitStep> WordSplit,
    IReadOnlyList<AddedToken> AddedTokens)
{
    /// <summary>Id of a special token, an added one first.</summary>
    /// <exception cref="InvalidDataException">There is no such token.</exception>
    public int SpecialId(string content)
    {
        if (AddedTokens.FirstOrDefault(t => t.Content == content) is { } added)
            return added.Id;
        var id = Vocabulary.IndexOf(System.Text.Encoding.UTF8.GetBytes(content));
        return id >= 0 ? id : throw new InvalidDataException($"there is no token {content}");
    }
}
