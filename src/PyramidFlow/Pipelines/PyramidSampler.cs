using PyramidFlow.Schedulers;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;

namespace PyramidFlow.Pipelines;

/// <summary>
/// Samples latents unit by unit, each through the stages of the spatial pyramid (paper sections 3.1 and 3.2). It holds the
/// model and the schedule only and can serve any number of runs.
/// </summary>
/// <param name="model">The transformer; it stays the caller's.</param>
/// <param name="scheduler">The schedule, of as many stages as the plans have.</param>
/// <param name="options">How to trade speed for memory.</param>
public sealed class PyramidSampler(PyramidTransformer model, PyramidFlowScheduler scheduler, SamplerOptions? options = null)
{
    private readonly SamplerOptions options = options ?? new SamplerOptions();

    /// <summary>Samples a clip. Each unit is handed out as soon as it is done.</summary>
    /// <param name="plan">Shape and steps.</param>
    /// <param name="text">Text of b rows, on the model's device.</param>
    /// <param name="noise">All draws.</param>
    /// <param name="image">Normalised latents [b, c, 1, h, w] of a given first frame, which counts as the first unit; null samples it.</param>
    /// <param name="progress">Told after every step.</param>
    /// <param name="cancel">Looked at before every step.</param>
    /// <returns>Normalised latents of each unit, [b, c, t, h, w]; the caller disposes them.</returns>
    public IEnumerable<Tensor> Clip(SamplingPlan plan, GuidedText text, INoiseSource noise, Tensor? image = null,
        IProgress<SamplerStep>? progress = null, CancellationToken cancel = default)
    {
        Tensor? clean = null;
        try
        {
            for (var unit = 0; unit < plan.Units; unit++)
            {
                var latents = unit == 0 && image is not null
                    ? Own(image)
                    : Unit(plan, unit, clean, text, noise, progress, cancel);
                try
                {
                    var longer = Append(clean, latents);
                    clean?.Dispose();
                    clean = longer;
                }
                catch
                {
                    latents.Dispose();
                    throw;
                }

                yield return latents;
            }
        }
        finally
        {
            clean?.Dispose();
        }
    }

    /// <summary>Samples one unit.</summary>
    /// <param name="plan">Shape and steps of the clip.</param>
    /// <param name="unit">Number of the unit, from 0.</param>
    /// <param name="clean">Normalised latents of all units before it, [b, c, t, h, w]; null for the first.</param>
    /// <param name="text">Text of b rows.</param>
    /// <param name="noise">All draws.</param>
    /// <param name="progress">Told after every step.</param>
    /// <param name="cancel">Looked at before every step.</param>
    /// <returns>Normalised latents, [b, c, t, h, w], in no scope: the caller disposes them.</returns>
    public Tensor Unit(SamplingPlan plan, int unit, Tensor? clean, GuidedText text, INoiseSource noise,
        IProgress<SamplerStep>? progress = null, CancellationToken cancel = default)
    {
        if (plan.Stages != scheduler.Stages.Count)
            throw new ArgumentException($"the plan has {plan.Stages} stages and the schedule {scheduler.Stages.Count}", nameof(plan));
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var start = noise.Latents([text.Prompt.Mask.Rows, model.Config.LatentChannels, plan.FramesOf(unit), plan.Height, plan.Width]);
        var x = ToModel(LatentPyramid.Noise(start, plan.Stages - 1));                                // [b, c, t, h, w]
        var pyramid = clean is null ? null : LatentPyramid.Build(clean, plan.Stages);
        for (var stage = 0; stage < plan.Stages; stage++)
        {
            var history = pyramid is null ? [] : LatentPyramid.History(pyramid, unit, stage, plan.FramesPerUnit);
            using var inner = new TensorScope();
            if (stage > 0)
                x = Renoise(x, stage, noise);
            var steps = scheduler.Steps(stage, plan.StepsOf(unit)[stage]);
            var guidance = plan.Guidance[unit];
            x = inner.Keep(Stage(x, history, steps, text, guidance, step => progress?.Report(new SamplerStep(unit, stage, step, steps.Count)), cancel));
        }

        return TensorScope.Detach(x);
    }

    // All steps of a stage. Guided, each clip goes through twice: without the prompt first, then with it.
    private Tensor Stage(Tensor x, IReadOnlyList<Tensor> history, FlowSteps steps, GuidedText text, double? guidance, Action<int> done,
        CancellationToken cancel)
    {
        using var scope = new TensorScope();
        var condition = guidance is null ? text.Prompt
            : text.Guided ?? throw new ArgumentException("a guided unit needs the text that guidance steers away from", nameof(text));
        var clips = history.Select(clip => Rows(clip, guidance)).ToList();
        using var velocities = StageVelocity.Begin(model, clips, ClipSize.Of(x), condition, steps.Timesteps, options);
        for (var step = 0; step < steps.Count; step++)
        {
            cancel.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            var velocity = Guide(velocities.At(Rows(x, guidance), step), guidance);                  // [b, c, t, h, w]
            var next = inner.Keep(PyramidFlowScheduler.Step(x, velocity, steps.Sigmas[step], steps.Sigmas[step + 1]));
            if (step > 0)
                x.Dispose();
            x = next;
            done(step + 1);
        }

        return scope.Keep(x);
    }

    private Tensor Renoise(Tensor x, int stage, INoiseSource noise)
    {
        using var scope = new TensorScope();
        var (alpha, beta) = scheduler.Renoise(stage);
        var larger = LatentPyramid.Double(x);
        return scope.Keep((larger * alpha).Add(ToModel(noise.Block(larger.Shape, scheduler.Options.Gamma)), beta));
    }

    private Tensor ToModel(Tensor x) => x.To(model.WeightType).To(model.Device);

    private static Tensor Rows(Tensor x, double? guidance) => guidance is null ? x : Tensor.Cat([x, x], 0);

    private static Tensor Guide(Tensor velocity, double? guidance)
    {
        if (guidance is not { } scale)
            return velocity;
        var parts = velocity.Chunk(2, 0);
        return parts[0].Add(parts[1] - parts[0], scale);
    }

    private Tensor Own(Tensor image)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return TensorScope.Detach(ToModel(image).Clone());
    }

    private static Tensor Append(Tensor? clean, Tensor latents)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return TensorScope.Detach(clean is null ? latents.Clone() : Tensor.Cat([clean, latents], 2));
    }
}
