using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>
/// The velocities of one unit at one stage under classifier-free guidance: v = uncond + g (cond - uncond), step after step. A
/// guided step takes each clip through the model twice, first without the prompt and then with it. Where guidance is not computed
/// in every step, those between take it through with the prompt only and add the last difference: v = cond + (g - 1) difference.
/// </summary>
internal sealed class GuidedVelocity : IDisposable
{
    private readonly double? guidance;
    private readonly Approximations approximations;
    private readonly StageVelocity? both, alone;
    private Tensor? difference;

    /// <summary>Begins a stage.</summary>
    /// <param name="model">The transformer.</param>
    /// <param name="history">Clips [b, c, t, h, w], oldest first; empty for the first unit.</param>
    /// <param name="unit">Size of the unit.</param>
    /// <param name="text">Text of b rows, and that of 2b if there is guidance.</param>
    /// <param name="timesteps">One for each step, 0..1000.</param>
    /// <param name="guidance">The scale g; null is off.</param>
    /// <param name="approximations">Which steps are guided, and how many share a prefix.</param>
    /// <param name="options">How much may be held ahead.</param>
    internal GuidedVelocity(PyramidTransformer model, IReadOnlyList<Tensor> history, ClipSize unit, GuidedText text,
        IReadOnlyList<double> timesteps, double? guidance, Approximations approximations, SamplerOptions options)
    {
        (this.guidance, this.approximations) = (guidance, approximations);
        if (guidance is null)
        {
            alone = StageVelocity.Begin(model, history, unit, text.Prompt, timesteps, options, approximations.ReusePrefix);
            return;
        }

        var guided = text.Guided ?? throw new ArgumentException("a guided unit needs the text that guidance steers away from", nameof(text));
        var others = timesteps.Where((_, step) => !approximations.IsGuided(step)).ToList();
        if (others.Count > 0)
        {
            // A guided step has two rows and another one.
            var (third, rest) = (options.PrefixBytes / 3, options.PrefixBytes - (options.PrefixBytes / 3));
            alone = StageVelocity.Begin(model, history, unit, text.Prompt, others, options with { PrefixBytes = third }, approximations.ReusePrefix);
            options = options with { PrefixBytes = rest };
        }

        try
        {
            both = StageVelocity.Begin(model, [.. history.Select(clip => Tensor.Cat([clip, clip], 0))], unit, guided,
                [.. timesteps.Where((_, step) => approximations.IsGuided(step))], options, approximations.ReusePrefix);
        }
        catch
        {
            alone?.Dispose();
            throw;
        }
    }

    /// <summary>The velocity of a step, shaped like the unit.</summary>
    /// <param name="noisy">[b, c, t, h, w].</param>
    /// <param name="step">Steps come in order.</param>
    internal Tensor At(Tensor noisy, int step)
    {
        if (guidance is not { } scale)
            return alone!.At(noisy, step);
        using var scope = new TensorScope();
        var every = approximations.GuidanceEvery;
        if (!approximations.IsGuided(step))
            return scope.Keep(alone!.At(noisy, step - (step / every) - 1).Add(difference!, scale - 1));
        var parts = both!.At(Tensor.Cat([noisy, noisy], 0), step / every).Chunk(2, 0);               // uncond, cond
        var apart = parts[1] - parts[0];
        var velocity = scope.Keep(parts[0].Add(apart, scale));
        difference?.Dispose();
        difference = every > 1 ? TensorScope.Release(apart) : null;
        return velocity;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        alone?.Dispose();
        both?.Dispose();
        difference?.Dispose();
    }
}
