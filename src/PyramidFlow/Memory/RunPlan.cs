using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Memory;

/// <summary>A part of a run.</summary>
/// <param name="Phase">What is done.</param>
/// <param name="Unit">Unit of the clip, from 0; null for all.</param>
/// <param name="Stage">Stage of the pyramid; null for all.</param>
/// <param name="Steps">Denoising steps; 0 where there are none.</param>
/// <param name="Tokens">Tokens of a step: text, history and unit of one row.</param>
/// <param name="Flops">Operations, 2 for each multiply-add of a product.</param>
/// <param name="Seconds">Estimated time.</param>
public sealed record PlannedWork(GenerationPhase Phase, int? Unit, int? Stage, int Steps, long Tokens, double Flops, double Seconds);

/// <summary>How fast a machine is.</summary>
/// <param name="Products">Matrix products in the type of the computation, operations a second.</param>
/// <param name="Convolutions">Convolutions, likewise.</param>
public sealed record MachineSpeed(double Products, double Convolutions)
{
    /// <summary>Share of these speeds that whole models reach (docs/benchmarks.md).</summary>
    public const double ReachedShare = 0.85;
}

/// <summary>What a run will take, known from configs alone.</summary>
/// <param name="Work">Its parts in their order.</param>
/// <param name="Memory">Most bytes for each way to offload, none first.</param>
public sealed record RunPlan(IReadOnlyList<PlannedWork> Work, IReadOnlyList<(Offload Offload, RunMemory Memory)> Memory)
{
    /// <summary>Operations of the whole run.</summary>
    public double Flops => Work.Sum(work => work.Flops);

    /// <summary>Estimated time of the whole run, without loading.</summary>
    public double Seconds => Work.Sum(work => work.Seconds);

    /// <summary>Plans a run.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="options">How it works; its offload is one of those that are compared.</param>
    /// <param name="speed">How fast the machine is.</param>
    public static RunPlan Of(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, MachineSpeed speed)
    {
        var plan = settings.Sampling;
        var (products, convolutions) = (speed.Products * MachineSpeed.ReachedShare, speed.Convolutions * MachineSpeed.ReachedShare);
        var text = WorkCount.Text(model, settings.IsGuided);
        var work = new List<PlannedWork> { new(GenerationPhase.EncodingText, null, null, 0, WorkCount.TextTokens, text, text / products) };
        for (var unit = 0; unit < plan.Units; unit++)
        {
            for (var stage = 0; stage < plan.Stages && !(unit == 0 && settings.IsGiven); stage++)
            {
                var (shape, steps) = (WorkCount.Shape(model.Transformer, plan, unit, stage), plan.StepsOf(unit)[stage]);
                var flops = WorkCount.Stage(model.Transformer, shape, plan.EvaluationsOf(unit, stage), options.Sampler, plan.Approximations);
                work.Add(new PlannedWork(GenerationPhase.Denoising, unit, stage, steps, shape.Length, flops, flops / products));
            }

            var decode = WorkCount.Decode(model.Vae, plan, unit, options.Tiles);
            work.Add(new PlannedWork(GenerationPhase.Decoding, unit, null, 0, 0, decode, decode / convolutions));
        }

        Offload[] ways = [Offload.None, Offload.Model, Offload.Sequential];
        return new RunPlan(work, [.. ways.Select(way => (way, RunMemory.Of(model, settings, type, options with { Offload = way })))]);
    }
}
