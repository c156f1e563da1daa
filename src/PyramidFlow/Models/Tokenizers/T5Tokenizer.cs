using System.Text.Json;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Models.Tokenizers;

/// <summary>
/// T5's tokenizer: a SentencePiece unigram model with compiled Unicode normalisation. Gives the ids of the fast T5
/// tokenizer the released system uses. Safe to share between threads.
/// </summary>
public sealed class T5Tokenizer
{
    /// <summary>Length the released system pads and cuts T5 prompts to.</summary>
    public const int DefaultMaxLength = 128;

    // The longest replacement that Unicode's normalisation knows has 18 characters.
    private const int MostGrowth = 32, Room = 1024;

    private readonly string file;
    private readonly T5Definition definition;
    private readonly AddedTokenSplitter addedTokens;

    private T5Tokenizer(string file, T5Definition definition, JsonElement settings)
    {
        (this.file, this.definition) = (file, definition);
        addedTokens = new AddedTokenSplitter(definition.AddedTokens);
        PadId = definition.SpecialId(TokenizerFile.SpecialToken(settings, "pad_token") ?? "<pad>");
        EndId = definition.SpecialId(TokenizerFile.SpecialToken(settings, "eos_token") ?? "</s>");
        VocabularySize = Math.Max(
            definition.Vocabulary.Count, definition.AddedTokens.Select(t => t.Id + 1).DefaultIfEmpty().Max());
    }

    /// <summary>Id of the padding token, <c>&lt;pad&gt;</c>.</summary>
    public int PadId { get; }

    /// <summary>Id of the token that ends every text, <c>&lt;/s&gt;</c>.</summary>
    public int EndId { get; }

    /// <summary>Id of text that no piece covers, <c>&lt;unk&gt;</c>.</summary>
    public int UnknownId => definition.UnknownId;

    /// <summary>One more than the greatest id; an embedding table needs at least so many rows.</summary>
    public int VocabularySize { get; }

    /// <summary>Loads a tokenizer folder: <c>tokenizer.json</c> if it is there, else <c>spiece.model</c>.</summary>
    /// <param name="folder">The folder, e.g. <c>tokenizer_2</c> of a released checkpoint.</param>
    /// <exception cref="CheckpointException">Neither file is there, or one is damaged or of another kind.</exception>
    public static T5Tokenizer Load(string folder)
    {
        var json = Path.Combine(folder, "tokenizer.json");
        var model = Path.Combine(folder, "spiece.model");
        var settings = TokenizerFile.ReadSettings(Path.Combine(folder, "tokenizer_config.json"));
        if (File.Exists(json))
            return TokenizerFile.Read(json, bytes => new T5Tokenizer(json, T5JsonReader.Parse(bytes), settings));
        if (File.Exists(model))
            return TokenizerFile.Read(model, bytes => new T5Tokenizer(model, T5SentencePieceReader.Parse(bytes, settings), settings));
        throw new CheckpointException($"{folder} has neither tokenizer.json nor spiece.model: it is not a T5 tokenizer folder");
    }

    /// <summary>Tokenises a text and ends it with <c>&lt;/s&gt;</c>, which stays when the text is cut.</summary>
    /// <param name="text">Any text; the empty text gives the end token alone.</param>
    /// <param name="maxLength">Most ids to give, the end token included; at least 1.</param>
    /// <param name="pad">Whether to fill up with the padding token to <paramref name="maxLength"/>.</param>
    /// <exception cref="CheckpointException">The tokenizer's rules make far more of the text than any real ones do.</exception>
    public Tokenized Encode(string text, int maxLength = DefaultMaxLength, bool pad = true)
    {
        ArgumentNullException.ThrowIfNull(text);
        var ids = new List<int>();
        foreach (var segment in addedTokens.Split(text))
        {
            if (segment.Id >= 0)
                ids.Add(segment.Id);
            else
                EncodeText(text.Substring(segment.Start, segment.Length), segment.Start == 0, ids);
        }

        return Tokenized.Build(ids, start: null, EndId, PadId, maxLength, pad);
    }

    private void EncodeText(string text, bool opensText, List<int> ids)
    {
        var most = (int)Math.Min(Room + ((long)MostGrowth * text.Length), int.MaxValue / 4);
        text = TokenizerFile.Named(file, () => definition.Normalizer.Aggregate(text, (written, step) => step.Apply(written, most)));
        if (text.Length == 0)
            return;
        IEnumerable<(string Word, bool OpensText)> words = [(text, opensText)];
        foreach (var step in definition.WordSplit)
            words = words.SelectMany(w => step.Split(w.Word, w.OpensText));
        foreach (var (word, _) in words)
            definition.Model.Encode(word, ids);
    }
}
