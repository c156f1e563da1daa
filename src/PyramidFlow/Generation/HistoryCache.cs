using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Keys and values of history frames that never change again, kept from unit to unit of a clip. Which stages and timesteps have them is
/// chosen from the plan and a limit of bytes (<see cref="HistoryPlan"/>); the others compute their whole history in every unit. Only the last digits of
/// the result depend on it.
/// </summary>
internal sealed class HistoryCache : IDisposable
{
    private readonly SamplingPlan plan;
    private readonly IReadOnlyList<KeptStage> chosen;
    private readonly Dictionary<KeptStage, (HistoryBuffer Buffer, TextCondition Text)> buffers = [];

    /// <summary>Chooses what is kept; nothing is allocated before it is computed.</summary>
    /// <param name="plan">Shape and steps of the clip.</param>
    /// <param name="model">The transformer, which stays its owner's.</param>
    /// <param name="options">The limit of bytes.</param>
    /// <param name="clips">Clips that are sampled side by side.</param>
    internal HistoryCache(SamplingPlan plan, PyramidTransformer model, SamplerOptions options, int clips = 1)
    {
        this.plan = plan;
        chosen = HistoryPlan.Choose(plan, model.Config, model.WeightType, options, clips);
    }

    /// <summary>The part of the cache that a unit continues from at a stage.</summary>
    /// <param name="stage">The stage.</param>
    /// <param name="unit">The unit.</param>
    internal StageHistory At(int stage, int unit)
    {
        // A history that is cut begins with another frame, so no later unit continues it either. Evaluations with and without guidance have
        // timesteps of their own, which are others where guidance begins or ends.
        if (!HistoryPlan.IsWhole(plan, unit))
            Dispose();
        else if (HistoryPlan.TurnsGuidance(plan, unit))
            Free([.. buffers.Keys.Where(kept => kept.Stage == stage)]);
        return new StageHistory(this, stage, HistoryPlan.KeptFrames(plan, unit, stage));
    }

    /// <summary>Whether a buffer is allocated.</summary>
    internal bool HoldsMemory => buffers.Count > 0;

    /// <inheritdoc/>
    public void Dispose() => Free([.. buffers.Keys]);

    private void Free(IReadOnlyList<KeptStage> stages)
    {
        foreach (var kept in stages)
        {
            buffers[kept].Buffer.Dispose();
            buffers.Remove(kept);
        }
    }

    // The buffer of a text; what was computed with another text is freed. Null where nothing is kept.
    internal HistoryBuffer? Buffer(int stage, bool isGuided, TextCondition text)
    {
        if (chosen.FirstOrDefault(each => each.Stage == stage && each.IsGuided == isGuided) is not { } kept)
            return null;
        if (buffers.TryGetValue(kept, out var known))
        {
            if (ReferenceEquals(known.Text, text))
                return known.Buffer;
            known.Buffer.Dispose();
        }

        var buffer = new HistoryBuffer(kept.Timesteps, text.Mask.Rows, text.Mask.Length + (kept.Frames * HistoryPlan.FrameTokens(plan)));
        buffers[kept] = (buffer, text);
        return buffer;
    }
}

/// <summary>The part of the history cache that one unit continues from at one stage.</summary>
/// <param name="Cache">The history cache of the clip.</param>
/// <param name="Stage">The stage.</param>
/// <param name="FinalFrames">Leading history frames that never change again; 0 keeps nothing.</param>
/// <param name="IsGuided">Whether the rows are those of guided evaluations.</param>
internal sealed record StageHistory(HistoryCache Cache, int Stage, long FinalFrames, bool IsGuided = false)
{
    /// <summary>The buffer for a text; null where nothing is kept.</summary>
    internal HistoryBuffer? Buffer(TextCondition text) => FinalFrames == 0 ? null : Cache.Buffer(Stage, IsGuided, text);
}

/// <summary>Timesteps of a stage whose history is kept.</summary>
/// <param name="Stage">The stage.</param>
/// <param name="IsGuided">Whether its evaluations are guided, which have two rows of text for each clip.</param>
/// <param name="Timesteps">How many timesteps, from the first one on.</param>
/// <param name="Frames">Most history frames that are kept.</param>
/// <param name="Bytes">Bytes at the end of the clip.</param>
internal sealed record KeptStage(int Stage, bool IsGuided, int Timesteps, long Frames, long Bytes);

/// <summary>Plans the history cache of a clip: the frames that neighbouring units have in common, and the stages and timesteps that fit. The run and its plan read the same numbers.</summary>
internal static class HistoryPlan
{
    /// <summary>Limit where nothing is known of the machine.</summary>
    internal const long DefaultBytes = 2L << 30;

    /// <summary>Whether the history of a unit holds all frames before it, so that it begins like that of the unit before.</summary>
    internal static bool IsWhole(SamplingPlan plan, int unit) => plan.HistoryOf(unit) == (unit == 0 ? 0 : plan.First + ((unit - 1) * plan.FramesPerUnit));

    /// <summary>Whether guidance begins or ends with a unit.</summary>
    internal static bool TurnsGuidance(SamplingPlan plan, int unit) => unit > 0 && (plan.Guidance[unit] is null) != (plan.Guidance[unit - 1] is null);

    /// <summary>Tokens of a frame at the lowest resolution.</summary>
    internal static long FrameTokens(SamplingPlan plan) => plan.SizeOf(1, 0).FrameTokens;

    /// <summary>Leading history frames that a unit leaves to later units: those at the lowest resolution; 0 where no later unit continues it.</summary>
    internal static long KeptFrames(SamplingPlan plan, int unit, int stage)
    {
        if (!IsWhole(plan, unit))
            return 0;
        // The last unit with a whole history needs what the one before it has left and leaves nothing.
        var isContinued = unit + 1 < plan.Units && IsWhole(plan, unit + 1);
        return LatentPyramid.FinalFrames(plan.HistoryOf(isContinued ? unit : unit - 1), stage, plan.FramesPerUnit);
    }

    /// <summary>Frames that the unit before has left at a stage for a unit; 0 where it begins anew.</summary>
    /// <param name="plan">Shape and steps of the clip.</param>
    /// <param name="unit">The unit.</param>
    /// <param name="stage">The stage.</param>
    /// <param name="isNewText">Whether the prompt begins with this unit.</param>
    internal static long HeldFrames(SamplingPlan plan, int unit, int stage, bool isNewText) =>
        unit < 2 || isNewText || !IsWhole(plan, unit) || TurnsGuidance(plan, unit) ? 0 : KeptFrames(plan, unit - 1, stage);

    /// <summary>The same for a clip, whose prompts say where texts begin.</summary>
    internal static long HeldFrames(GenerationSettings clip, int unit, int stage) =>
        HeldFrames(clip.Sampling, unit, stage, clip.Prompts.Any(prompt => prompt.FromUnit == unit));

    /// <summary>Chooses what is kept: lower stages first, because each of their tokens saves most.</summary>
    /// <param name="plan">Shape and steps of the clip.</param>
    /// <param name="config">The transformer.</param>
    /// <param name="type">Its element type.</param>
    /// <param name="options">The limit of bytes.</param>
    /// <param name="clips">Clips that are sampled side by side.</param>
    internal static IReadOnlyList<KeptStage> Choose(SamplingPlan plan, ITransformerConfig config, ElementType type, SamplerOptions options, int clips = 1)
    {
        var kept = new List<KeptStage>();
        if (!options.UsePrefix || !config.UseTemporalCausal)
            return kept;
        var left = options.HistoryBytes ?? DefaultBytes;
        for (var stage = 0; stage < plan.Stages; stage++)
        {
            foreach (var (isGuided, all, frames) in Sets(plan, stage))
            {
                // The largest share of a process.
                var parts = options.Ways?.Timesteps ?? 1;
                var groups = (all + parts - 1) / parts;
                var rows = isGuided && options.Ways is not { Guidance: 2 } ? 2 : 1;
                var timestep = HistoryBuffer.BytesOfTimestep(config, type, rows * clips, WorkCount.TextTokens + (frames * FrameTokens(plan)),
                    options.Ways?.Heads ?? 1);
                var count = (int)Math.Min(groups, left / timestep);
                if (count == 0)
                    continue;
                kept.Add(new KeptStage(stage, isGuided, count, frames, count * timestep));
                left -= count * timestep;
            }
        }

        return kept;
    }

    /// <summary>Bytes that the history cache takes within its limit; 0 without a limit.</summary>
    internal static long Bytes(SamplingPlan plan, ITransformerConfig config, ElementType type, SamplerOptions options) =>
        options.HistoryBytes is null or 0 ? 0 : Choose(plan, config, type, options).Sum(stage => stage.Bytes);

    // Timesteps and most kept frames of the evaluations with guidance and of those without.
    private static IEnumerable<(bool IsGuided, int Groups, long Frames)> Sets(SamplingPlan plan, int stage)
    {
        foreach (var isGuided in new[] { true, false })
        {
            var (groups, frames) = (0, 0L);
            for (var unit = 1; unit < plan.Units; unit++)
            {
                var count = plan.PrefixesOf(unit, stage, isGuided);
                if (count > 0)
                    (groups, frames) = (Math.Max(groups, count), Math.Max(frames, KeptFrames(plan, unit, stage)));
            }

            if (groups > 0 && frames > 0)
                yield return (isGuided, groups, frames);
        }
    }
}
