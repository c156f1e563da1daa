using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>The encoded texts of a run. Each is encoded once, by itself, so that its features do not depend on the others.</summary>
/// <param name="encoder">Encodes prompts; it stays the caller's.</param>
/// <param name="wider">Creates an encoder in a wider type for texts whose features are not finite; it is freed after use. Null has none.</param>
/// <param name="warn">Takes warnings for the user, such as that a prompt was cut.</param>
internal sealed class EncodedPrompts(PromptEncoder encoder, Func<PromptEncoder>? wider, Action<string> warn) : IDisposable
{
    private readonly Dictionary<string, PromptFeatures> features = [];
    private readonly Dictionary<(string, string?), GuidedText> texts = [];

    /// <summary>Prompts encoded in earlier runs; null looks for none.</summary>
    internal PromptCache? Cache { get; init; }

    /// <summary>The processes that sample together: rank zero encodes, and the others receive the features.</summary>
    internal SamplingTeam Team { get; init; } = new(null);

    /// <summary>The run, which all processes leave together; null where there is one process.</summary>
    internal CommonRun? Run { get; init; }

    /// <summary>Called before the encoder works.</summary>
    internal Action? Begin { get; init; }

    /// <summary>The text of every unit of a clip.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="cancellationToken">Checked before each prompt.</param>
    internal IReadOnlyList<GuidedText> Of(GenerationSettings clip, CancellationToken cancellationToken)
    {
        var negative = clip.IsGuided ? clip.NegativePrompt : null;
        foreach (var (_, prompt) in clip.Prompts)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Text(prompt, negative);
        }

        cancellationToken.ThrowIfCancellationRequested();
        return [.. Enumerable.Range(0, clip.Sampling.Units).Select(unit => Text(clip.PromptOf(unit), negative))];
    }

    /// <summary>A prompt with what guidance steers away from.</summary>
    /// <param name="prompt">The prompt.</param>
    /// <param name="negative">Null when no unit is guided.</param>
    internal GuidedText Text(string prompt, string? negative)
    {
        if (texts.TryGetValue((prompt, negative), out var known))
            return known;
        using var scope = new TensorScope();
        var text = GuidedText.Of(Features(prompt), negative is null ? null : Features(negative));
        if (text.Guided is { } guided)
        {
            TensorScope.Release(guided.Tokens);
            TensorScope.Release(guided.Pooled);
        }

        if (Team.SplitsGuidance)
            text = text.WithRow(Team.Row);
        if (text.Row is { } row)
        {
            TensorScope.Release(row.Tokens);
            TensorScope.Release(row.Pooled);
        }

        return texts[(prompt, negative)] = text;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var guided in texts.Values.SelectMany(text => new[] { text.Guided, text.Row }))
        {
            guided?.Tokens.Dispose();
            guided?.Pooled.Dispose();
        }

        foreach (var known in features.Values)
        {
            known.Tokens.Dispose();
            known.Pooled.Dispose();
        }
    }

    private PromptFeatures Features(string text)
    {
        if (features.TryGetValue(text, out var known))
            return known;
        using var scope = new TensorScope();
        var encoded = Team.FirstGives(() => Cache?.Find(text) ?? Encode(text), Run);
        foreach (var warning in encoded.Warnings)
            warn(warning);
        TensorScope.Release(encoded.Tokens);
        TensorScope.Release(encoded.Pooled);
        return features[text] = encoded;
    }

    private PromptFeatures Encode(string text)
    {
        Begin?.Invoke();
        var encoded = encoder.Encode([text]);
        if (wider is not null && !encoded.AreFinite())
        {
            using var other = wider();
            var type = encoded.Tokens.Type;
            encoded = other.Encode([text]);
            encoded = encoded with { Tokens = encoded.Tokens.To(type), Pooled = encoded.Pooled.To(type) };
            warn($"numbers of the text encoders went beyond {type}: the prompt was encoded again in a wider type");
        }

        if (!encoded.AreFinite())
            throw new NonFiniteException(ModelPart.Text, "when a prompt was encoded");
        if (Cache?.Keep(text, encoded) is { } fault)
            warn(fault);
        return encoded;
    }
}
