using PyramidFlow.Models.Text;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Dit;

/// <summary>Features of some texts, encoded before: stands for the text encoders where these are let go.</summary>
internal sealed class EncodedPrompts : PromptEncoder
{
    private readonly Dictionary<string, PromptFeatures> features = [];

    /// <summary>Encodes them, each by itself.</summary>
    /// <param name="encoder">The text encoders, which stay the caller's.</param>
    /// <param name="texts">All that will be asked for.</param>
    internal EncodedPrompts(PromptEncoder encoder, IEnumerable<string> texts)
    {
        (TokenWidth, PooledWidth) = (encoder.TokenWidth, encoder.PooledWidth);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        foreach (var text in texts.Distinct())
        {
            var encoded = encoder.Encode([text]);
            features[text] = encoded with { Tokens = TensorScope.Release(encoded.Tokens.Clone()), Pooled = TensorScope.Release(encoded.Pooled.Clone()) };
        }
    }

    /// <inheritdoc/>
    public override long TokenWidth { get; }

    /// <inheritdoc/>
    public override long PooledWidth { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Module> Models => [];

    /// <summary>The features of one of the texts.</summary>
    /// <param name="prompts">One text.</param>
    public override PromptFeatures Encode(IReadOnlyList<string> prompts)
    {
        var known = features[prompts.Single()];
        return known with { Tokens = known.Tokens.Clone(), Pooled = known.Pooled.Clone() };
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        foreach (var known in features.Values)
        {
            known.Tokens.Dispose();
            known.Pooled.Dispose();
        }

        base.Dispose();
    }
}
