using PyramidFlow.Generation;
using PyramidFlow.Models.Text;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Memory;

/// <summary>Operations of the parts of a run.</summary>
internal static class WorkCount
{
    /// <summary>Text tokens that are counted for a prompt whose length nobody knows yet: the most there can be.</summary>
    internal const int TextTokens = PromptEncoder.MaxTokens;

    /// <summary>The sequence of a step.</summary>
    internal static SequenceShape Shape(ITransformerConfig config, SamplingPlan plan, int unit, int stage)
    {
        var history = LatentPyramid.HistoryRanges(plan.HistoryOf(unit), stage, plan.FramesPerUnit).Select(clip =>
        {
            var frame = plan.SizeOf(unit, clip.Level);
            return frame with { Time = clip.Count };
        });
        return new SequenceShape(plan.Guidance[unit] is null ? 1 : 2, TextTokens, [.. history, plan.SizeOf(unit, stage)], config.UseTemporalCausal);
    }

    /// <summary>Whether text and history run ahead of the steps.</summary>
    internal static bool UsesPrefix(ITransformerConfig config, SequenceShape shape, SamplerOptions sampler) =>
        sampler.UsePrefix && config.UseTemporalCausal && shape.Clips.Count > 1;

    /// <summary>All evaluations of one unit at one stage.</summary>
    internal static double Stage(ITransformerConfig config, SequenceShape shape, int evaluations, SamplerOptions sampler, Approximations approximations)
    {
        var guided = shape.Rows == 1 ? 0 : approximations.GuidedEvaluations(evaluations);
        return Part(shape, guided) + Part(shape with { Rows = 1 }, evaluations - guided);

        double Part(SequenceShape rows, int count) => UsesPrefix(config, rows, sampler)
            ? ((double)approximations.Prefixes(count) * DitFlops.Prefix(config, rows)) + ((double)count * DitFlops.Unit(config, rows))
            : (double)count * DitFlops.Joint(config, rows);
    }

    /// <summary>Decoding the latent frames of a unit.</summary>
    internal static double Decode(CausalVideoVaeConfig config, SamplingPlan plan, int unit, TileOptions? tiles)
    {
        var side = tiles is null ? long.MaxValue : tiles.Size / config.SpatialScale;
        var (rows, tileHeight) = Cut(plan.Height);
        var (columns, tileWidth) = Cut(plan.Width);
        var frames = plan.FramesOf(unit);
        // Later units meet frames before them, so they cost as much as the difference they make to a longer video.
        var tile = unit == 0
            ? VaeFlops.Decode(config, frames, tileHeight, tileWidth)
            : VaeFlops.Decode(config, frames + 2, tileHeight, tileWidth) - VaeFlops.Decode(config, 2, tileHeight, tileWidth);
        return (double)rows * columns * tile;

        (long Count, long Length) Cut(long total) => total <= side
            ? (1, total)
            : ((long)Math.Ceiling(((total - side) / (side * (1 - tiles!.Overlap))) + 1), side);
    }

    /// <summary>Encoding the prompt and what guidance steers away from, both as long as they can be.</summary>
    internal static double Text(PlannedModel model, bool guided)
    {
        var rows = guided ? 2 : 1;
        return TextFlops.T5(model.T5, rows, TextTokens) + model.Clips.Sum(clip => TextFlops.Clip(clip, rows, clip.MaxPositionEmbeddings));
    }
}
