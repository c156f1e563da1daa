using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>
/// Clips that a student samples, with the state at the beginning of each of its steps. Training there shows the student what it meets when it samples: its own errors in the history
/// (Huang et al. 2025, arXiv 2506.08009) and within the steps of a unit (Kohler et al. 2024, arXiv 2405.05224). States of data are never met where steps are few: a state between two steps is
/// a mix of noise and a clean clip there, and of noise and a first, blurred estimate here.
/// </summary>
internal sealed class StudentClips : IDisposable
{
    private readonly PyramidFlowScheduler scheduler;
    private readonly SamplingPlan plan;
    private readonly Dictionary<(int Unit, int Stage, int Step), Tensor> states = [];
    private readonly Tensor[] pyramid = [];

    /// <summary>Samples clips, in one row each, with the weights of now; no gradients.</summary>
    /// <param name="model">The student.</param>
    /// <param name="scheduler">Stage windows and tables.</param>
    /// <param name="plan">Shape and steps.</param>
    /// <param name="text">Prompts, one for each clip.</param>
    /// <param name="seed">Seed of the noise.</param>
    internal StudentClips(PyramidTransformer model, PyramidFlowScheduler scheduler, SamplingPlan plan, TextCondition text, ulong seed)
    {
        (this.scheduler, this.plan) = (scheduler, plan);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var noise = new SeededNoise(seed);
        var units = new List<Tensor>();
        try
        {
            foreach (var unit in new PyramidSampler(model, scheduler, new SamplerOptions { UsePrefix = false, HistoryBytes = 0 }).Clip(plan, new GuidedText(text, null), noise, progress: new Beginnings(states)))
                units.Add(unit);
            pyramid = [.. LatentPyramid.Build(Tensor.Cat([.. units], 2), plan.Stages).Select(TensorScope.Release)];
        }
        catch
        {
            Dispose();
            throw;
        }
        finally
        {
            foreach (var unit in units)
                unit.Dispose();
        }
    }

    /// <summary>Number of units of each clip.</summary>
    internal int Units => plan.Units;

    /// <summary>Inputs at the beginning of a step, in the caller's scope; their target is that of a teacher.</summary>
    /// <param name="unit">The unit, from 0.</param>
    /// <param name="stage">The stage, from 0, the lowest resolution.</param>
    /// <param name="place">Which of the steps of the stage; 0 to below 1.</param>
    /// <param name="first">The first clip, from 0.</param>
    /// <param name="every">Distance from a clip to the next one.</param>
    internal FlowSample At(int unit, int stage, double place, int first = 0, int every = 1)
    {
        var points = scheduler.Steps(stage, plan.StepsOf(unit)[stage], plan.Approximations.Solver);
        var step = Math.Min(points.Count - 1, (int)(place * points.Count));
        var noisy = Some(states[(unit, stage, step)]);
        var history = unit == 0 ? [] : LatentPyramid.History(pyramid, unit, stage, plan.FramesPerUnit);
        var timesteps = Tensor.From(Enumerable.Repeat((float)points.Timesteps[step], (int)noisy.Size(0)).ToArray()).To(noisy.Device);
        return new FlowSample([.. history.Select(Some), noisy], timesteps, noisy)
        {
            HalfStep = plan.Approximations.Solver == FlowSolvers.Uniform ? FlowHalfStep.Of(scheduler.Stages[stage], points.Count) : null,
        };

        Tensor Some(Tensor clips) => clips.Slice(0, first, clips.Size(0), every);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var tensor in states.Values.Concat(pyramid))
            tensor.Dispose();
    }

    // Keeps the state before each step.
    private sealed class Beginnings(Dictionary<(int Unit, int Stage, int Step), Tensor> states) : IProgress<SamplerStep>
    {
        public void Report(SamplerStep step)
        {
            using var scope = new TensorScope();
            states.Add((step.Unit, step.Stage, step.Step - 1), TensorScope.Release(step.Beginning.Clone()));
        }
    }
}
