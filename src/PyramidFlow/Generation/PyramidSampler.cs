using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>How sampling trades speed for memory. At most the last digits of the result change.</summary>
public sealed record SamplerOptions
{
    private const long DefaultPrefixBytes = 2L << 30;

    /// <summary>
    /// Whether text and history of later units are computed ahead of the steps, several timesteps in one batch; only for models with
    /// temporal causal attention.
    /// </summary>
    public bool UsePrefix { get; init; } = true;

    /// <summary>Bytes of keys and values to hold ahead; limits how many timesteps run in one batch, at least 1 does.</summary>
    public long PrefixBytes { get; init; } = DefaultPrefixBytes;

    /// <summary>
    /// Most bytes of the history cache: keys and values of history frames that never change again, kept from unit to unit; 0 keeps none. Null
    /// lets the pipeline choose by the memory there is, or 2 GiB where it does not know. What is kept changes the last digits of the result.
    /// </summary>
    public long? HistoryBytes { get; init; }

    /// <summary>How attention trades speed for memory.</summary>
    public AttentionSettings Attention { get; init; } = new();

    /// <summary>How several processes divide the sampling: each keeps the history of its own timesteps and rows. Null is one process.</summary>
    internal ParallelWays? Ways { get; init; }

    /// <summary>
    /// The same options with as much held ahead as the device allows: a quarter of a GPU's memory, whose larger batches keep it busier. A
    /// number that was set stays.
    /// </summary>
    public SamplerOptions EnlargedOn(Device device) =>
        PrefixBytes == DefaultPrefixBytes && device.Type == DeviceType.Cuda && DeviceMemory.Read(device) is { } memory
            ? this with { PrefixBytes = Math.Max(PrefixBytes, memory.Total / 4) }
            : this;
}

/// <summary>Reports an evaluation of the transformer that is done.</summary>
/// <param name="Unit">Its unit, from 0.</param>
/// <param name="Stage">Its stage, from 0, the lowest resolution.</param>
/// <param name="Step">Evaluations of the stage done, from 1.</param>
/// <param name="Steps">Evaluations of the stage.</param>
internal readonly record struct SamplerStep(int Unit, int Stage, int Step, int Steps)
{
    internal (PyramidFlowScheduler Schedule, Tensor Beginning, Tensor Sample, Tensor Velocity, double Sigma) State { private get; init; }

    /// <summary>The sample before the evaluation, while the step is reported: [b, c, t, h, w] at the size of the stage.</summary>
    internal Tensor Beginning => State.Beginning;

    /// <summary>Estimates the clean latents, while the step is reported: [b, c, t, h, w] at the size of the stage, in the caller's scope.</summary>
    internal Tensor EstimateClean() => State.Schedule.Clean(Stage, State.Sample, State.Velocity, State.Sigma);
}

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
/// <param name="parallel">The processes that sample together; null is this one alone.</param>
internal sealed class PyramidSampler(PyramidTransformer model, PyramidFlowScheduler scheduler, SamplerOptions? options = null,
    Func<PyramidTransformer>? wider = null, VideoParallel? parallel = null)
{
    private readonly SamplingTeam team = new(parallel);

    /// <summary>Samples a clip with one text. Each unit is handed out as soon as it is done.</summary>
    /// <param name="plan">Shape and steps; without a history window.</param>
    /// <param name="text">Text of b rows, on the model's device.</param>
    /// <param name="noise">All draws.</param>
    /// <param name="given">Normalised latents [b, c, t, h, w] that count as the first unit, such as a first frame; null samples it.</param>
    /// <param name="progress">Reports progress after every evaluation.</param>
    /// <param name="warn">Takes warnings for the user.</param>
    /// <param name="cancellationToken">Checked before every evaluation.</param>
    /// <returns>Normalised latents of each unit, [b, c, t, h, w]; the caller disposes them. All are finite.</returns>
    /// <exception cref="NonFiniteException">Numbers of a stage are not finite, in no type that there is.</exception>
    public IEnumerable<Tensor> Clip(SamplingPlan plan, GuidedText text, INoiseSource noise, Tensor? given = null,
        IProgress<SamplerStep>? progress = null, Action<string>? warn = null, CancellationToken cancellationToken = default)
    {
        if (plan.Stages != scheduler.Stages.Count)
            throw new ArgumentException($"the plan has {plan.Stages} stages and the schedule {scheduler.Stages.Count}", nameof(plan));
        if (plan.Window is not null)
            throw new ArgumentException("a history window needs decoded frames: generate with a pipeline", nameof(plan));
        return Units();

        IEnumerable<Tensor> Units()
        {
            using var history = new ClipHistory(window: null);
            using var fallback = Fallback(warn);
            for (var unit = 0; unit < plan.Units; unit++)
            {
                var latents = unit == 0 && given is not null ? Own(given) : Unit(plan, unit, history.Latents, text, noise, fallback, progress, cancellationToken);
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
    }

    /// <summary>The fallback of a new clip, so that a clip does not depend on those before it; the caller disposes it.</summary>
    internal SamplingFallback Fallback(Action<string>? warn) => new(model, team.Share(options ?? new SamplerOptions()), wider, warn);

    /// <summary>A copy of latents in the model's type on its device, in the layout that later runs read from a <see cref="ResumeFile"/>, in no scope.</summary>
    internal Tensor Own(Tensor given)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return TensorScope.Release(To(model, given).Contiguous().Clone());
    }

    /// <summary>The processes that decode a clip together with this one; null where it decodes alone, or nothing.</summary>
    internal SharedDecoder? SharedDecoder(SamplingPlan plan, PipelineOptions run) => team.Decoder(plan, run);

    /// <summary>Whether other processes sample, and this one only takes their units.</summary>
    internal bool OnlyTakes => team.OnlyDecodes;

    /// <summary>Whether the processes that sample the units that this one takes make the rest of the clip in the wider type.</summary>
    internal bool HasTakenWidened => team.HasTakenWidened;

    /// <summary>Ends a clip, once its last unit is with all processes that need it.</summary>
    internal void Complete() => team.Complete();

    /// <summary>Ends a clip before its last unit, in all processes.</summary>
    /// <param name="error">The cause.</param>
    internal void Leave(Exception error)
    {
        if (error is NonFiniteException || (error is OperationCanceledException && team.IsStopped))
            team.TellEnd(error is NonFiniteException);
    }

    /// <summary>Takes a unit that other processes have sampled.</summary>
    /// <param name="plan">Shape and steps.</param>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="rows">Clips side by side.</param>
    /// <param name="progress">Reports all its evaluations.</param>
    /// <returns>Normalised latents [b, c, t, h, w] in no scope.</returns>
    internal Tensor Take(SamplingPlan plan, int unit, int rows, IProgress<SamplerStep>? progress)
    {
        using var scope = new TensorScope();
        var latents = To(model, team.Take(unit, [rows, model.Config.LatentChannels, plan.FramesOf(unit), plan.Height, plan.Width], model.WeightType));
        for (var stage = 0; stage < plan.Stages; stage++)
        {
            var steps = plan.EvaluationsOf(unit, stage);
            for (var step = 1; step <= steps; step++)
                progress?.Report(new SamplerStep(unit, stage, step, steps));
        }

        return TensorScope.Release(latents);
    }

    /// <summary>Samples one unit.</summary>
    /// <param name="plan">Shape and steps.</param>
    /// <param name="unit">Its number, from 0.</param>
    /// <param name="clean">Clean latents of the frames before it, [b, c, t, h, w]; null for the first unit.</param>
    /// <param name="text">Its text of b rows.</param>
    /// <param name="noise">All draws.</param>
    /// <param name="fallback">From <see cref="Fallback"/>, one for all units of a clip.</param>
    /// <param name="progress">Reports progress after every evaluation.</param>
    /// <param name="cancellationToken">Checked before every evaluation.</param>
    /// <returns>Normalised latents [b, c, t, h, w] in no scope.</returns>
    internal Tensor Unit(SamplingPlan plan, int unit, Tensor? clean, GuidedText text, INoiseSource noise, SamplingFallback fallback,
        IProgress<SamplerStep>? progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var start = noise.Latents([text.Prompt.Mask.Rows, model.Config.LatentChannels, plan.FramesOf(unit), plan.Height, plan.Width]);
        var x = To(fallback.Model, LatentPyramid.Noise(start, plan.Stages - 1));                     // [b, c, t, h, w]
        var pyramid = clean is null ? null : LatentPyramid.Build(clean, plan.Stages);
        using var ahead = new StagesAhead();
        if (team.Parts > 1 && pyramid is not null)
            BeginStages(ahead, plan, unit, pyramid, clean!.Size(2), text, fallback);
        var sums = new List<Tensor>();
        try
        {
            for (var stage = 0; stage < plan.Stages; stage++)
            {
                using var inner = new TensorScope();
                var history = pyramid is null ? [] : LatentPyramid.HistoryAfter(pyramid, clean!.Size(2), stage, plan.FramesPerUnit);
                if (stage > 0)
                    x = Renoise(x, stage, noise);
                x = inner.Keep(Stage(plan, unit, stage, x, history, text, fallback, ahead, progress, cancellationToken));
                sums.Add(inner.Keep(x.FiniteSum()));
            }
        }
        catch (Exception e) when (e is NonFiniteException || (e is OperationCanceledException && team.IsStopped))
        {
            ahead.Leave();
            throw;
        }

        // Checked once a unit, because reading the sums waits for a GPU.
        if (!x.AllFinite())
            throw NotFinite(plan, unit, sums.FindIndex(sum => !double.IsFinite(sum.Item())) is var broken and >= 0 ? broken : plan.Stages - 1);
        var latents = To(model, x).Contiguous();
        team.Unite(latents, fallback.IsWidened);
        return TensorScope.Release(latents);
    }

    // Where processes own timesteps, each computes the prefixes of its later stages while the others sample.
    private void BeginStages(StagesAhead ahead, SamplingPlan plan, int unit, IReadOnlyList<Tensor> pyramid, long frames, GuidedText text, SamplingFallback fallback)
    {
        for (var stage = 0; stage < plan.Stages; stage++)
        {
            ahead.Add(stage, Begin(plan, unit, stage, LatentPyramid.HistoryAfter(pyramid, frames, stage, plan.FramesPerUnit), plan.SizeOf(unit, stage), text, fallback.Model,
                fallback.Options, fallback.History(plan, text.Prompt.Mask.Rows)));
        }
    }

    private DividedVelocity Begin(SamplingPlan plan, int unit, int stage, IReadOnlyList<Tensor> history, ClipSize size, GuidedText text,
        PyramidTransformer transformer, SamplerOptions options, HistoryCache kept)
    {
        var points = scheduler.Steps(stage, plan.StepsOf(unit)[stage], plan.Approximations.Solver);
        return new DividedVelocity(team, transformer, [.. history.Select(clip => To(transformer, clip))], size, text, points.Timesteps, plan.Guidance[unit],
            plan.Approximations, options, kept.At(stage, unit));
    }

    // One stage, again with less at a time where memory ran out, and again in a wider type where numbers overflowed.
    private Tensor Stage(SamplingPlan plan, int unit, int stage, Tensor x, IReadOnlyList<Tensor> history, GuidedText text, SamplingFallback fallback, StagesAhead ahead,
        IProgress<SamplerStep>? progress, CancellationToken cancellationToken)
    {
        while (true)
        {
            Tensor result;
            try
            {
                result = Steps(plan, unit, stage, x, history, text, fallback.Model, fallback.Options, fallback.History(plan, text.Prompt.Mask.Rows), ahead, progress, cancellationToken);
            }
            // One process of several cannot begin a stage anew while the others go on.
            catch (TorchMemoryException e) when (!team.IsShared)
            {
                ahead.End(stage);
                fallback.Shrink(e);
                continue;
            }

            if (!fallback.MayOverflow || result.AllFinite())
                return result;
            if (!fallback.Widen())
                throw NotFinite(plan, unit, stage);
            ahead.Leave();
        }
    }

    // All steps of a stage.
    private Tensor Steps(SamplingPlan plan, int unit, int stage, Tensor x, IReadOnlyList<Tensor> history, GuidedText text,
        PyramidTransformer transformer, SamplerOptions options, HistoryCache kept, StagesAhead ahead, IProgress<SamplerStep>? progress, CancellationToken cancellationToken)
    {
        using var scope = new TensorScope();
        var solver = plan.Approximations.Solver;
        var points = scheduler.Steps(stage, plan.StepsOf(unit)[stage], solver);
        var velocities = ahead.At(stage) ?? ahead.Add(stage, Begin(plan, unit, stage, history, ClipSize.Of(x), text, transformer, options, kept));
        using var integrator = solver.Begin(points);
        var start = x = To(transformer, x);
        for (var i = 0; i < points.Count; i++)
        {
            team.Pass(cancellationToken);
            using var inner = new TensorScope();
            var velocity = velocities.At(x, i, () => ahead.Prepare(stage + 1));                                                      // [b, c, t, h, w]
            var next = inner.Keep(integrator.Step(x, velocity, i));
            progress?.Report(new SamplerStep(unit, stage, i + 1, points.Count) { State = (scheduler, x, next, velocity, points.Sigmas[i + 1]) });
            if (x != start)
                x.Dispose();
            x = next;
        }

        velocities.Complete();
        ahead.End(stage);
        return scope.Keep(x);
    }

    private Tensor Renoise(Tensor x, int stage, INoiseSource noise)
    {
        using var scope = new TensorScope();
        var (alpha, beta) = scheduler.RenoiseFactors(stage);
        var larger = LatentPyramid.Double(x);
        var block = noise.Block(larger.Shape, scheduler.Options.Gamma).To(x.Type).To(x.Device);
        return scope.Keep((larger * alpha).Add(block, beta));
    }

    private static Tensor To(PyramidTransformer model, Tensor x) => x.To(model.WeightType).To(model.Device);

    private static NonFiniteException NotFinite(SamplingPlan plan, int unit, int stage) =>
        new(ModelPart.Transformer, FormattableString.Invariant($"after stage {stage + 1} of {plan.Stages} of unit {unit + 1}"));
}

/// <summary>The stages of a unit that have begun, of which later ones may begin before their turn.</summary>
internal sealed class StagesAhead : IDisposable
{
    private readonly SortedDictionary<int, DividedVelocity> begun = [];

    /// <summary>Adds a stage that has begun; it is owned from now on.</summary>
    internal DividedVelocity Add(int stage, DividedVelocity velocities)
    {
        begun.Add(stage, velocities);
        return velocities;
    }

    /// <summary>Computes ahead for a stage, if it has begun.</summary>
    internal void Prepare(int stage) => At(stage)?.Prepare();

    /// <summary>A stage; null where it has not begun.</summary>
    internal DividedVelocity? At(int stage) => begun.GetValueOrDefault(stage);

    /// <summary>Ends a stage.</summary>
    internal void End(int stage)
    {
        if (begun.Remove(stage, out var velocities))
            velocities.Dispose();
    }

    /// <summary>Ends all stages where all processes do so, such as those of a transformer that is not used any more.</summary>
    internal void Leave()
    {
        foreach (var velocities in begun.Values)
            velocities.SendRest();
        foreach (var velocities in begun.Values)
            velocities.ReceiveRest();
        Dispose();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var velocities in begun.Values)
            velocities.Dispose();
        begun.Clear();
    }
}

/// <summary>
/// The transformer and the options with which a clip is sampled: those that were loaded and asked for, until numbers overflow or memory runs
/// out; from then on the same weights in a wider type, or less at a time. It holds the history cache of the clip, which belongs to that transformer.
/// </summary>
internal sealed class SamplingFallback(PyramidTransformer model, SamplerOptions options, Func<PyramidTransformer>? wider, Action<string>? warn) : IDisposable
{
    private HistoryCache? history;
    private bool widened;

    /// <summary>The transformer to use.</summary>
    internal PyramidTransformer Model { get; private set; } = model;

    /// <summary>How much is computed at a time.</summary>
    internal SamplerOptions Options { get; private set; } = options;

    /// <summary>Whether results must be checked, because there is another model to compute them with.</summary>
    internal bool MayOverflow => wider is not null;

    /// <summary>Whether the wider type is in use.</summary>
    internal bool IsWidened => widened;

    /// <summary>The history cache of the clip.</summary>
    /// <param name="plan">Shape and steps of the clip.</param>
    /// <param name="clips">Clips that are sampled side by side.</param>
    internal HistoryCache History(SamplingPlan plan, int clips) => history ??= new HistoryCache(plan, Model, Options, clips);

    /// <inheritdoc/>
    public void Dispose() => DropHistory();

    /// <summary>Computes less at a time from now on.</summary>
    /// <param name="cause">The error to give where it is as little as possible already.</param>
    internal void Shrink(TorchMemoryException cause)
    {
        if (history?.HoldsMemory == true)
        {
            DropHistory();
            Options = Options with { HistoryBytes = 0 };
            TorchRuntime.TrimMemory();
            warn?.Invoke("memory ran out: that part was done again without a history cache, and so is the rest of the clip");
            return;
        }

        const int leastBlock = 16;
        var attention = Options.Attention;
        if (Options.PrefixBytes == 0 && attention.QueryBlock <= leastBlock)
            throw new TorchMemoryException($"{cause.Message}, with as little at a time as can be: use another way to offload, a memory budget, or smaller frames", cause);
        TorchRuntime.TrimMemory();
        Options = Options with { PrefixBytes = Options.PrefixBytes >> 3, Attention = attention.InBlocksOf(Math.Max(leastBlock, attention.QueryBlock / 2)) };
        warn?.Invoke("memory ran out: that part was done again with less at a time, and so is the rest of the clip");
    }

    /// <summary>Goes over to the wider type.</summary>
    /// <returns>False where that was done before.</returns>
    internal bool Widen()
    {
        if (widened)
            return false;
        var narrow = Model.WeightType;
        DropHistory();
        Model = wider!();
        widened = true;
        warn?.Invoke($"numbers of the transformer went beyond {narrow}: that part was done again in {Model.WeightType}, and so is the rest of the clip; load it as {Model.WeightType} to save the time");
        return true;
    }

    private void DropHistory()
    {
        history?.Dispose();
        history = null;
    }
}
