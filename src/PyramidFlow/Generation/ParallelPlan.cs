using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>What a run on several processes takes, computed from configurations alone.</summary>
/// <param name="Ways">How the work is divided.</param>
/// <param name="Flops">Operations of sampling on the chain of steps that no number of processes shortens, and of the prefixes in its way.</param>
/// <param name="HistoryBytes">Bytes of the history cache of a process.</param>
/// <param name="SentBytes">Most bytes that a process sends, without the texts.</param>
internal sealed record ParallelPlan(ParallelWays Ways, double Flops, long HistoryBytes, long SentBytes)
{
    /// <summary>Plans a clip.</summary>
    /// <param name="clip">The clip.</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="type">Element type.</param>
    /// <param name="ways">How the work is divided.</param>
    /// <param name="sampler">Limit of the history cache.</param>
    public static ParallelPlan Of(GenerationSettings clip, PlannedModel model, ElementType type, ParallelWays ways, SamplerOptions sampler)
    {
        var limited = sampler with { Ways = ways, HistoryBytes = sampler.HistoryBytes ?? long.MaxValue };
        var kept = HistoryPlan.Choose(clip.Sampling, model.Transformer, type, limited);
        return new ParallelPlan(ways, CriticalFlops(clip, model.Transformer, ways, limited, kept), kept.Sum(stage => stage.Bytes),
            Enumerable.Range(0, ways.Processes).Max(rank => BytesSent(clip, model, type, ways, rank)));
    }

    /// <summary>Bytes that a process sends while it samples a clip, without the texts.</summary>
    /// <inheritdoc cref="Of"/>
    public static long BytesSent(GenerationSettings clip, PlannedModel model, ElementType type, ParallelWays ways, int rank)
    {
        var (plan, bytes) = (clip.Sampling, 0L);
        for (var unit = clip.IsConditioned ? 1 : 0; unit < plan.Units; unit++)
        {
            for (var stage = 0; stage < plan.Stages; stage++)
            {
                var evaluations = plan.EvaluationsOf(unit, stage);
                var count = SamplingTeam.Share(rank / ways.Guidance, ways.Timesteps, evaluations, plan.Approximations.Together).GetOffsetAndLength(evaluations).Length;
                var rows = ways.Guidance == 1 || plan.Guidance[unit] is null ? 0 : Enumerable.Range(0, count).Count(plan.Approximations.IsGuided);
                bytes += ((long)rows + ((long)count * (ways.Timesteps - 1))) * Latents(plan, unit, stage);
            }

            // The finished unit is broadcast.
            bytes += ProcessGroup.BroadcastTargets(rank, ways.Processes).Count() * Latents(plan, unit, plan.Stages - 1);
        }

        return bytes;

        long Latents(SamplingPlan sampling, int unit, int stage) =>
            sampling.SizeOf(unit, stage).Tokens * Patches.Size * Patches.Size * model.Transformer.LatentChannels * type.Size();
    }

    // Follows the clocks of the processes that share the timesteps: each computes its prefixes as soon as it can, and the steps go from owner to owner.
    private static double CriticalFlops(GenerationSettings clip, ITransformerConfig config, ParallelWays ways, SamplerOptions sampler, IReadOnlyList<KeptStage> kept)
    {
        var (plan, end) = (clip.Sampling, 0.0);
        for (var unit = clip.IsConditioned ? 1 : 0; unit < plan.Units; unit++)
        {
            var clocks = Enumerable.Repeat(end, ways.Timesteps).ToArray();
            for (var stage = 0; stage < plan.Stages; stage++)
            {
                var evaluations = plan.EvaluationsOf(unit, stage);
                var shape = WorkCount.Shape(config, plan, unit, stage);
                if (ways.Guidance == 2 && shape.Rows == 2)
                    shape = shape with { Rows = 1 };
                var hasPrefix = WorkCount.UsesPrefix(config, shape, sampler);
                var held = hasPrefix && kept.Any(each => each.Stage == stage) ? HistoryPlan.HeldFrames(plan, unit, stage, clip.Prompts.Any(prompt => prompt.FromUnit == unit)) : 0;
                for (var part = 0; part < ways.Timesteps; part++)
                {
                    var count = SamplingTeam.Share(part, ways.Timesteps, evaluations, plan.Approximations.Together).GetOffsetAndLength(evaluations).Length;
                    if (hasPrefix)
                        clocks[part] += plan.Approximations.Prefixes(count) * (held > 0 ? DitFlops.Prefix(config, shape, held) : DitFlops.Prefix(config, shape));
                    end = count == 0 ? end : Math.Max(end, clocks[part]) + (count * (hasPrefix ? DitFlops.Unit(config, shape) : DitFlops.Joint(config, shape)));
                    clocks[part] = count == 0 ? clocks[part] : end;
                }
            }
        }

        return end;
    }
}
