using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// The velocities of one unit at one stage, one evaluation of the transformer after another. What they share is computed once: embedded text,
/// modulation, positions and, where the model is causal, keys and values of text and history.
/// </summary>
internal abstract class StageVelocity : IDisposable
{
    /// <summary>Chooses the pass: over the unit's own tokens where there is a prefix, else over the whole sequence.</summary>
    /// <param name="model">The transformer.</param>
    /// <param name="history">Clips [rows, c, t, h, w], oldest first; empty for the first unit.</param>
    /// <param name="unit">Size of the unit.</param>
    /// <param name="text">Text of the rows.</param>
    /// <param name="timesteps">One for each evaluation, 0..1000.</param>
    /// <param name="options">How attention is computed, and how much may be computed ahead.</param>
    /// <param name="reuse">For how many neighbouring evaluations text and history are computed once; 1 is exact.</param>
    /// <param name="kept">Keys and values from earlier units; null has none.</param>
    internal static StageVelocity Begin(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text,
        IReadOnlyList<double> timesteps, SamplerOptions options, int reuse = 1, StageHistory? kept = null) =>
        options.UsePrefix && model.Config.UseTemporalCausal && history.Count > 0
            ? new PrefixVelocity(model, history, unit, text, timesteps, options, reuse, kept)
            : new JointVelocity(model, history, unit, text, timesteps, options.Attention);

    /// <summary>The velocity of a sample, shaped like it.</summary>
    /// <param name="noisy">[rows, c, t, h, w].</param>
    /// <param name="evaluation">Which timestep; they come in order.</param>
    internal abstract Tensor At(Tensor noisy, int evaluation);

    /// <summary>Computes ahead what the first evaluations share and needs no sample.</summary>
    internal virtual void Prepare()
    {
    }

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Modulation of all rows of text at each timestep, [timesteps * rows, ...].</summary>
    private protected static TransformerModulation Modulate(PyramidTransformer model, TextCondition text, IReadOnlyList<double> timesteps) =>
        model.Modulate(Timesteps(model, timesteps).RepeatInterleave(text.Mask.Rows, 0), text.Pooled.Repeat(timesteps.Count, 1));

    /// <summary>Timesteps rounded to the element type of the model, as in the released system.</summary>
    private protected static Tensor Timesteps(PyramidTransformer model, IEnumerable<double> timesteps) =>
        Tensor.From<float>([.. timesteps.Select(t => (float)t)]).To(model.WeightType).To(model.Device); // [steps]
}

/// <summary>Velocities from passes over the whole sequence.</summary>
internal sealed class JointVelocity : StageVelocity
{
    private readonly PyramidTransformer model;
    private readonly IReadOnlyList<Tensor> history;
    private readonly SequenceLayout layout;
    private readonly Tensor words;
    private readonly TransformerModulation modulation;

    internal JointVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text, IReadOnlyList<double> timesteps,
        AttentionSettings attention)
    {
        using var scope = new TensorScope();
        (this.model, this.history) = (model, history);
        words = model.EmbedText(text);                                                               // [rows, l, d]
        modulation = Modulate(model, text, timesteps);
        layout = model.Layout([.. history.Select(ClipSize.Of), unit], text.Mask, attention);
        // Only now, when nothing can fail any more, does this object own them.
        TensorScope.Release(words);
        modulation.Release();
    }

    internal override Tensor At(Tensor noisy, int evaluation)
    {
        using var scope = new TensorScope();
        var first = (long)evaluation * layout.Rows;
        return scope.Keep(model.ForwardStage([.. history, noisy], words, layout, modulation.Rows(first, first + layout.Rows)));
    }

    public override void Dispose()
    {
        layout.Dispose();
        words.Dispose();
        modulation.Dispose();
    }
}

/// <summary>
/// Velocities from passes over the unit's own tokens; text and history are computed ahead for several timesteps. Where
/// neighbouring evaluations share a prefix, it is computed at the mean of their timesteps; the unit's tokens keep their own.
/// </summary>
internal sealed class PrefixVelocity : StageVelocity
{
    private readonly PyramidTransformer model;
    private readonly IReadOnlyList<Tensor> history;
    private readonly ClipSize unit;
    private readonly TextCondition text;
    private readonly IReadOnlyList<double> timesteps;
    private readonly TransformerModulation? modulation;
    private readonly SamplerOptions options;
    private readonly HistoryBuffer? buffer;
    private readonly long final;
    private readonly int reuse;
    private PrefixCache? prefix;
    private int first;

    internal PrefixVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, TextCondition text,
        IReadOnlyList<double> timesteps, SamplerOptions options, int reuse, StageHistory? kept)
    {
        (this.model, this.history, this.unit, this.text, this.reuse, this.options) = (model, history, unit, text, reuse, options);
        this.timesteps = reuse == 1 ? timesteps : [.. timesteps.Chunk(reuse).Select(group => group.Average())];
        (buffer, final) = (kept?.Buffer(text), kept?.FinalFrames ?? 0);
        if (reuse == 1)
            return;
        using var scope = new TensorScope();
        modulation = Modulate(model, text, timesteps).Release();
    }

    internal override Tensor At(Tensor noisy, int evaluation)
    {
        var group = evaluation / reuse;
        if (prefix is null || group >= first + prefix.Timesteps)
        {
            prefix?.Dispose();
            prefix = null;
            first = group;
            prefix = Compute();
        }

        if (modulation is null)
            return model.ForwardUnit(noisy, group - first, prefix);
        using var inner = new TensorScope();
        var row = (long)evaluation * text.Mask.Rows;
        return inner.Keep(model.ForwardUnit(noisy, group - first, prefix, modulation.Rows(row, row + text.Mask.Rows)));
    }

    internal override void Prepare() => prefix ??= Compute();

    public override void Dispose()
    {
        prefix?.Dispose();
        prefix = null;
        modulation?.Dispose();
    }

    // The prefix of the timesteps from the first one on, as many as fit in one batch. Those with a history cache are not mixed with the others.
    private PrefixCache Compute()
    {
        using var scope = new TensorScope();
        var cached = Math.Min(buffer?.Timesteps ?? 0, timesteps.Count);
        var isKept = first < cached;
        var held = isKept ? buffer!.Frames(first, 1) : 0;
        var all = text.Mask.Length + history.Sum(clip => ClipSize.Of(clip).Tokens);
        var tokens = Math.Max(1, held == 0 ? all : all - text.Mask.Length - (held * ClipSize.Of(history[0]).FrameTokens));
        // As many tokens at a time as timesteps of the whole prefix would fit, so that a plan without a history cache bounds the memory of one with it.
        var whole = Math.Max(1, options.PrefixBytes / HistoryBuffer.BytesOfTimestep(model.Config, model.WeightType, text.Mask.Rows, all, options.Ways?.Heads ?? 1));
        var count = (int)Math.Clamp(whole * all / tokens, 1, (isKept ? cached : timesteps.Count) - first);
        return model.ComputePrefix(history, unit, text, Timesteps(model, timesteps.Skip(first).Take(count)), options.Attention,
            isKept ? new HistorySlice(buffer!, first, final) : null);
    }
}
