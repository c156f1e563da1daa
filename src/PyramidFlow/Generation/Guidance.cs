using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// The velocities of one unit at one stage under classifier-free guidance: v = uncond + g (cond - uncond). A guided evaluation
/// takes each clip through the model twice, first without the prompt and then with it. Where guidance is not computed every
/// time, the evaluations between run with the prompt only and add the last difference: v = cond + (g - 1) difference. Where two
/// processes divide guidance, each computes one of the two rows.
/// </summary>
internal sealed class GuidedVelocity : IDisposable
{
    private readonly double? guidance;
    private readonly Approximations approximations;
    private readonly StageVelocity? both, alone;
    private readonly SamplingTeam team;
    private Tensor? difference;

    /// <summary>Begins a stage.</summary>
    /// <param name="model">The transformer.</param>
    /// <param name="history">Clips [b, c, t, h, w], oldest first; empty for the first unit.</param>
    /// <param name="unit">Size of the unit.</param>
    /// <param name="text">Text of b rows, and that of 2b if there is guidance.</param>
    /// <param name="timesteps">One for each evaluation, 0..1000.</param>
    /// <param name="guidance">The scale g; null is off.</param>
    /// <param name="approximations">Which evaluations are guided, and how many share a prefix.</param>
    /// <param name="options">How attention is computed, and how much may be computed ahead.</param>
    /// <param name="kept">The history cache of the stage; null has none.</param>
    /// <param name="team">Who computes which row; null computes both here.</param>
    internal GuidedVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, GuidedText text,
        IReadOnlyList<double> timesteps, double? guidance, Approximations approximations, SamplerOptions options, StageHistory? kept = null, SamplingTeam? team = null)
    {
        (this.guidance, this.approximations, this.team) = (guidance, approximations, team ?? new SamplingTeam(null));
        if (guidance is null)
        {
            alone = StageVelocity.Begin(model, history, unit, text.Prompt, timesteps, options, approximations.ReusePrefix, kept);
            return;
        }

        var guided = text.Guided ?? throw new ArgumentException("a guided unit needs the text that guidance steers away from", nameof(text));
        var others = timesteps.Where((_, i) => !approximations.IsGuided(i)).ToList();
        if (others.Count > 0)
        {
            // A guided evaluation has two rows, the others one.
            var (third, rest) = (options.PrefixBytes / 3, options.PrefixBytes - (options.PrefixBytes / 3));
            alone = StageVelocity.Begin(model, history, unit, text.Prompt, others, options with { PrefixBytes = third }, approximations.ReusePrefix, kept);
            options = options with { PrefixBytes = rest };
        }

        try
        {
            both = StageVelocity.Begin(model, this.team.SplitsGuidance ? history : [.. history.Select(clip => Tensor.Cat([clip, clip], 0))], unit,
                this.team.SplitsGuidance ? text.Row ?? throw new ArgumentException("a process that computes one row of guidance needs its text", nameof(text)) : guided,
                [.. timesteps.Where((_, i) => approximations.IsGuided(i))], options, approximations.ReusePrefix, kept is null ? null : kept with { IsGuided = true });
        }
        catch
        {
            alone?.Dispose();
            throw;
        }
    }

    /// <summary>The velocity of a sample, shaped like it.</summary>
    /// <param name="noisy">[b, c, t, h, w].</param>
    /// <param name="evaluation">Which timestep; they come in order.</param>
    internal Tensor At(Tensor noisy, int evaluation)
    {
        if (guidance is not { } scale)
            return alone!.At(noisy, evaluation);
        using var scope = new TensorScope();
        var every = approximations.GuidanceEvery;
        if (!approximations.IsGuided(evaluation))
            return scope.Keep(alone!.At(noisy, evaluation - (evaluation / every) - 1).Add(difference!, scale - 1));
        var rows = team.SplitsGuidance                                                               // uncond, cond
            ? team.Rows(both!.At(noisy, evaluation / every))
            : both!.At(Tensor.Cat([noisy, noisy], 0), evaluation / every).Chunk(2, 0);
        var apart = rows[1] - rows[0];
        var velocity = scope.Keep(rows[0].Add(apart, scale));
        difference?.Dispose();
        difference = every > 1 ? TensorScope.Release(apart) : null;
        return velocity;
    }

    /// <summary>Computes ahead what the first evaluations need of text and history.</summary>
    internal void Prepare()
    {
        both?.Prepare();
        alone?.Prepare();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        alone?.Dispose();
        both?.Dispose();
        difference?.Dispose();
    }
}

/// <summary>Text of a clip, with and without guidance.</summary>
/// <param name="Prompt">The prompts, b rows.</param>
/// <param name="Guided">The negative prompts, then the prompts, 2b rows; null when no unit is guided.</param>
internal sealed record GuidedText(TextCondition Prompt, TextCondition? Guided)
{
    /// <summary>The b rows of <see cref="Guided"/> that this process computes, where two divide guidance; otherwise null.</summary>
    public TextCondition? Row { get; init; }

    /// <summary>The same, with the rows of a process that computes one of the two rows of guidance.</summary>
    /// <param name="row">0 is without the prompts, 1 with them.</param>
    public GuidedText WithRow(int row)
    {
        if (Guided is not { } both)
            return this;
        var rows = Prompt.Mask.Rows;
        return this with
        {
            Row = new TextCondition(both.Tokens.Narrow(0, (long)row * rows, rows), both.Mask.Narrow(row * rows, rows), both.Pooled.Narrow(0, (long)row * rows, rows)),
        };
    }

    /// <summary>Joins encoded prompts.</summary>
    /// <param name="prompt">The prompts, b rows.</param>
    /// <param name="negative">The negative prompts, b rows; null when no unit is guided.</param>
    public static GuidedText Of(PromptFeatures prompt, PromptFeatures? negative)
    {
        var words = new TextCondition(prompt.Tokens, TextMask.OfLengths(prompt.Lengths), prompt.Pooled);
        if (negative is null)
            return new GuidedText(words, null);
        var longest = Math.Max(prompt.Tokens.Size(1), negative.Tokens.Size(1));
        return new GuidedText(words, new TextCondition(
            Tensor.Cat([Padded(negative.Tokens), Padded(prompt.Tokens)], 0),
            TextMask.OfLengths([.. negative.Lengths, .. prompt.Lengths]),
            Tensor.Cat([negative.Pooled, prompt.Pooled], 0)));

        Tensor Padded(Tensor tokens) => tokens.Pad([0, 0, 0, longest - tokens.Size(1)]);             // [b, longest, d]
    }
}
