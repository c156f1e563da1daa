using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Models;

namespace PyramidFlow.Memory;

/// <summary>What the transformer holds beside its weights.</summary>
internal static class TransformerMemory
{
    // Of each token, in numbers as many as the model is wide: what a block with two streams holds when its feed-forward part is at
    // its widest. Plain norms and rotations work in copies of their own, which are wider than a narrow type. Counted in the code; compared
    // with what the allocator says by a test.
    private const int BlockInOnePass = 19, BlockInFloat32 = 30, BlockInNarrow = 40;

    /// <summary>Most bytes over all units and stages.</summary>
    /// <param name="config">The transformer.</param>
    /// <param name="plan">Shape and steps of the clip.</param>
    /// <param name="first">The first unit that is sampled.</param>
    /// <param name="type">Element type.</param>
    /// <param name="sampler">How much is held ahead.</param>
    /// <param name="attention">How many queries go at a time.</param>
    /// <param name="device">Where it works.</param>
    internal static long Peak(ITransformerConfig config, SamplingPlan plan, int first, ElementType type, SamplerOptions sampler, AttentionSettings attention,
        DeviceType device)
    {
        var most = 0L;
        for (var unit = first; unit < plan.Units; unit++)
        {
            for (var stage = 0; stage < plan.Stages; stage++)
                most = Math.Max(most, Stage(config, WorkCount.Shape(config, plan, unit, stage), plan.EvaluationsOf(unit, stage), type, sampler, attention, plan.Approximations, device));
        }

        return most;
    }

    /// <summary>Most bytes of one stage.</summary>
    internal static long Stage(ITransformerConfig config, SequenceShape shape, int evaluations, ElementType type, SamplerOptions sampler, AttentionSettings attention,
        Approximations approximations, DeviceType device)
    {
        var modulation = (long)evaluations * shape.Rows * config.ModulationOutputs * config.Dim * type.Size();
        if (!WorkCount.UsesPrefix(config, shape, sampler))
            return modulation + Pass(shape.Rows, shape.Length, shape.Length);
        var timestep = 2L * config.Blocks * shape.Rows * shape.PrefixLength * config.Dim * type.Size();
        var ahead = (int)Math.Clamp(sampler.PrefixBytes / timestep, 1, evaluations);
        var prefix = Pass(shape.Rows * ahead, shape.PrefixLength, shape.PrefixLength);
        // Keys and values of prefix and unit stand side by side while a block attends.
        var unit = Pass(shape.Rows, shape.Unit.Tokens, shape.Length) + (2 * shape.Rows * shape.Length * config.Dim * type.Size());
        // A prefix that is reused knows nothing of the unit's own timesteps; and one row without guidance holds a prefix of its own.
        var apart = (approximations.ReusePrefix > 1 ? modulation : 0) + (approximations.GuidanceEvery > 1 && shape.Rows > 1 ? timestep / 2 : 0);
        return (modulation * ahead / evaluations) + (ahead * timestep) + Math.Max(prefix, unit) + apart;

        long Pass(long rows, long tokens, long keys)
        {
            var queries = tokens <= attention.WholeUpTo ? tokens : Math.Min(tokens, attention.QueryBlock);
            return (rows * tokens * config.Dim * Block(type, device) * type.Size()) + (2 * rows * queries * keys * type.Size());
        }
    }

    private static int Block(ElementType type, DeviceType device) => (type, device) switch
    {
        (ElementType.Float32 or ElementType.BFloat16, DeviceType.Cpu) => BlockInOnePass,
        (ElementType.Float32, _) => BlockInFloat32,
        _ => BlockInNarrow,
    };
}
