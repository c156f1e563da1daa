using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Generation;

/// <summary>
/// Samples latents unit by unit, each through the stages of the spatial pyramid (paper sections 3.1 and 3.2). It holds the
/// model and the schedule only and can serve any number of runs.
/// </summary>
/// <param name="model">The transformer; it stays the caller's.</param>
/// <param name="scheduler">The schedule, of as many stages as the plans have.</param>
/// <param name="options">How to trade speed for memory.</param>
/// <param name="wider">
/// Gives the transformer in a type of wider range, which stays its owner's; where numbers of <paramref name="model"/> are not
/// finite, the stage is done again with it. Null has nothing to do again with.
/// </param>
public sealed class PyramidSampler(PyramidTransformer model, PyramidFlowScheduler scheduler, SamplerOptions? options = null,
    Func<PyramidTransformer>? wider = null)
{
    private readonly SamplerOptions options = options ?? new SamplerOptions();
    private readonly AttentionSettings attention = model.Attention;

    /// <summary>Samples a clip with one text. Each unit is handed out as soon as it is done.</summary>
    /// <param name="plan">Shape and steps.</param>
    /// <param name="text">Text of b rows, on the model's device.</param>
    /// <param name="noise">All draws.</param>
    /// <param name="given">Normalised latents [b, c, t, h, w] that count as the first unit, such as a first frame; null samples it.</param>
    /// <param name="progress">Told after every step.</param>
    /// <param name="cancel">Checked before every step.</param>
    /// <returns>Normalised latents of each unit, [b, c, t, h, w]; the caller disposes them.</returns>
    public IEnumerable<Tensor> Clip(SamplingPlan plan, GuidedText text, INoiseSource noise, Tensor? given = null,
        IProgress<SamplerStep>? progress = null, CancellationToken cancel = default) =>
        Clip(plan, new ClipSource(_ => text, noise) { Given = given }, progress, cancel);

    /// <summary>Samples a clip. Each unit is handed out as soon as it is done.</summary>
    /// <param name="plan">Shape and steps.</param>
    /// <param name="source">Text, noise, and what is given.</param>
    /// <param name="progress">Told after every step.</param>
    /// <param name="cancel">Checked before every step.</param>
    /// <returns>Normalised latents of each unit, [b, c, t, h, w]; the caller disposes them. All are finite.</returns>
    /// <exception cref="NonFiniteException">Numbers of a stage are not finite, in no type that there is.</exception>
    public IEnumerable<Tensor> Clip(SamplingPlan plan, ClipSource source, IProgress<SamplerStep>? progress = null, CancellationToken cancel = default)
    {
        if (plan.Stages != scheduler.Stages.Count)
            throw new ArgumentException($"the plan has {plan.Stages} stages and the schedule {scheduler.Stages.Count}", nameof(plan));
        return Units(plan, source, progress, cancel);
    }

    private IEnumerable<Tensor> Units(SamplingPlan plan, ClipSource source, IProgress<SamplerStep>? progress, CancellationToken cancel)
    {
        using var history = new ClipHistory(plan.Window, source.Restart);
        model.Attention = attention;
        var inUse = new ModelInUse(model, wider, source.Warn) { Options = options };
        for (var unit = 0; unit < plan.Units; unit++)
        {
            var latents = unit == 0 && source.Given is { } given
                ? Own(given)
                : Unit(inUse, plan, unit, history.Next(), source, progress, cancel);
            try
            {
                history.Add(latents);
            }
            catch
            {
                latents.Dispose();
                throw;
            }

            yield return latents;
        }
    }

    // One unit after clean latents [b, c, t, h, w] (none for the first); in no scope.
    private Tensor Unit(ModelInUse inUse, SamplingPlan plan, int unit, Tensor? clean, ClipSource source, IProgress<SamplerStep>? progress,
        CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var text = source.Text(unit);
        var start = source.Noise.Latents([text.Prompt.Mask.Rows, model.Config.LatentChannels, plan.FramesOf(unit), plan.Height, plan.Width]);
        var x = To(inUse.Current, LatentPyramid.Noise(start, plan.Stages - 1));                      // [b, c, t, h, w]
        var pyramid = clean is null ? null : LatentPyramid.Build(clean, plan.Stages);
        var sums = new List<Tensor>();
        for (var stage = 0; stage < plan.Stages; stage++)
        {
            var history = pyramid is null ? [] : LatentPyramid.HistoryAfter(pyramid, clean!.Size(2), stage, plan.FramesPerUnit);
            using var inner = new TensorScope();
            if (stage > 0)
                x = Renoise(x, stage, source.Noise);
            var steps = scheduler.Steps(stage, plan.StepsOf(unit)[stage], plan.Approximations.Solver);
            var (guidance, number) = (plan.Guidance[unit], stage);
            x = inner.Keep(CheckedStage(inUse, x, history, steps, text, guidance, plan.Approximations, Done, cancel,
                FormattableString.Invariant($"after stage {stage + 1} of {plan.Stages} of unit {unit + 1}")));
            sums.Add(inner.Keep(x.FiniteSum()));

            void Done(int step, Tensor sample, Tensor velocity)
            {
                var done = new SamplerStep(unit, number, step, steps.Count);
                source.Guess?.Invoke(done, () => scheduler.Clean(number, sample, velocity, steps.Sigmas[step]));
                progress?.Report(done);
            }
        }

        // A GPU is waited for once a unit.
        if (!x.AllFinite() && sums.FindIndex(sum => !double.IsFinite(sum.Item())) is var broken)
            throw NotFinite(FormattableString.Invariant($"after stage {(broken < 0 ? plan.Stages : broken + 1)} of {plan.Stages} of unit {unit + 1}"));
        return TensorScope.Detach(To(model, x));
    }

    private static NonFiniteException NotFinite(string where) => new(ModelPart.Transformer, where);

    private Tensor CheckedStage(ModelInUse inUse, Tensor x, IReadOnlyList<Tensor> history, FlowSteps steps, GuidedText text, double? guidance,
        Approximations approximations, Action<int, Tensor, Tensor> done, CancellationToken cancel, string where)
    {
        Tensor result;
        try
        {
            result = Stage(inUse, x, history, steps, text, guidance, approximations, done, cancel);
        }
        catch (TorchMemoryException e)
        {
            inUse.Shrink(e);
            return CheckedStage(inUse, x, history, steps, text, guidance, approximations, done, cancel, where);
        }

        if (!inUse.MayOverflow || result.AllFinite())
            return result;
        if (!inUse.Widen())
            throw NotFinite(where);
        return CheckedStage(inUse, x, history, steps, text, guidance, approximations, done, cancel, where);
    }

    // All steps of a stage.
    private Tensor Stage(ModelInUse inUse, Tensor x, IReadOnlyList<Tensor> history, FlowSteps steps, GuidedText text, double? guidance,
        Approximations approximations, Action<int, Tensor, Tensor> done, CancellationToken cancel)
    {
        using var scope = new TensorScope();
        var with = inUse.Current;
        var clips = history.Select(clip => To(with, clip)).ToList();
        using var velocities = new GuidedVelocity(with, clips, ClipSize.Of(x), text, steps.Timesteps, guidance, approximations, inUse.Options);
        using var integrator = approximations.Solver.Begin(steps);
        var start = x = To(with, x);
        for (var step = 0; step < steps.Count; step++)
        {
            cancel.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            var velocity = velocities.At(x, step);                                                   // [b, c, t, h, w]
            var next = inner.Keep(integrator.Step(x, velocity, step));
            if (x != start)
                x.Dispose();
            x = next;
            done(step + 1, x, velocity);
        }

        return scope.Keep(x);
    }

    private Tensor Renoise(Tensor x, int stage, INoiseSource noise)
    {
        using var scope = new TensorScope();
        var (alpha, beta) = scheduler.Renoise(stage);
        var larger = LatentPyramid.Double(x);
        var block = noise.Block(larger.Shape, scheduler.Options.Gamma).To(x.Type).To(x.Device);
        return scope.Keep((larger * alpha).Add(block, beta));
    }

    private static Tensor To(PyramidTransformer model, Tensor x) => x.To(model.WeightType).To(model.Device);

    private Tensor Own(Tensor given)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return TensorScope.Detach(To(model, given).Clone());
    }
}
