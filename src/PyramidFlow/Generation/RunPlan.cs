using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>One part of a run.</summary>
/// <param name="Phase">Phase.</param>
/// <param name="Unit">Unit of the clip, from 0; null for all.</param>
/// <param name="Stage">Stage of the pyramid; null for all.</param>
/// <param name="Steps">Denoising steps; 0 in other phases.</param>
/// <param name="Tokens">Tokens of a step: text, history and unit of one row.</param>
/// <param name="Flops">Operations, 2 for each multiply-add of a product.</param>
/// <param name="Seconds">Estimated time.</param>
internal sealed record PlannedWork(GenerationPhase Phase, int? Unit, int? Stage, int Steps, long Tokens, double Flops, double Seconds);

/// <summary>Speed of a machine.</summary>
/// <param name="Products">Matrix products in the type of the computation, operations a second.</param>
/// <param name="Convolutions">Convolutions, likewise.</param>
internal sealed record MachineSpeed(double Products, double Convolutions)
{
    /// <summary>Share of these speeds that whole models reach (docs/benchmarks.md).</summary>
    public const double ReachedShare = 0.85;
}

/// <summary>The work and memory of a run, computed from configurations alone.</summary>
/// <param name="Work">Its parts in their order.</param>
/// <param name="Memory">Most bytes for each way to offload, none first.</param>
internal sealed record RunPlan(IReadOnlyList<PlannedWork> Work, IReadOnlyList<(Offload Offload, RunMemory Memory)> Memory)
{
    /// <summary>Bytes of the history cache that the work is counted with. <see cref="Memory"/> includes it where the options limit it, and leaves it out where they do not.</summary>
    public long HistoryBytes { get; init; }

    /// <summary>Operations that the history cache saves.</summary>
    public double HistorySavedFlops { get; init; }

    /// <summary>Operations of the whole run.</summary>
    public double Flops => Work.Sum(work => work.Flops);

    /// <summary>Estimated time of the whole run, without loading.</summary>
    public double Seconds => Work.Sum(work => work.Seconds);

    /// <summary>Plans a run.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="options">Options of the run; the plan compares all ways to offload.</param>
    /// <param name="speed">How fast the machine is.</param>
    public static RunPlan Of(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, MachineSpeed speed)
    {
        var plan = settings.Sampling;
        var (products, convolutions) = (speed.Products * MachineSpeed.ReachedShare, speed.Convolutions * MachineSpeed.ReachedShare);
        var text = WorkCount.Text(model, settings.IsGuided);
        var work = new List<PlannedWork> { new(GenerationPhase.EncodingText, null, null, 0, WorkCount.TextTokens, text, text / products) };
        var history = HistoryPlan.Choose(plan, model.Transformer, type, options.Sampler with { HistoryBytes = options.Sampler.HistoryBytes ?? long.MaxValue });
        var saved = 0.0;
        for (var unit = 0; unit < plan.Units; unit++)
        {
            for (var stage = 0; stage < plan.Stages && !(unit == 0 && settings.IsConditioned); stage++)
            {
                var (shape, steps) = (WorkCount.Shape(model.Transformer, plan, unit, stage), plan.StepsOf(unit)[stage]);
                var flops = WorkCount.Stage(model.Transformer, shape, plan.EvaluationsOf(unit, stage), options.Sampler, plan.Approximations);
                var held = HistoryPlan.HeldFrames(settings, unit, stage);
                foreach (var kept in held == 0 ? [] : history.Where(each => each.Stage == stage))
                {
                    var less = WorkCount.SavedByHistory(model.Transformer, shape, plan, unit, kept, held);
                    (flops, saved) = (flops - less, saved + less);
                }

                work.Add(new PlannedWork(GenerationPhase.Denoising, unit, stage, steps, shape.Length, flops, flops / products));
            }

            var decode = WorkCount.Decode(model.Vae, plan, unit, options.Tiles);
            work.Add(new PlannedWork(GenerationPhase.Decoding, unit, null, 0, 0, decode, decode / convolutions));
        }

        Offload[] ways = [Offload.None, Offload.Model, Offload.Sequential];
        return new RunPlan(work, [.. ways.Select(way => (way, RunMemory.Of(model, settings, type, options with { Offload = way })))])
        {
            HistoryBytes = history.Sum(each => each.Bytes),
            HistorySavedFlops = saved,
        };
    }
}

/// <summary>Counts the operations of the parts of a run.</summary>
internal static class WorkCount
{
    /// <summary>Text tokens that are counted for a prompt of unknown length: the maximum.</summary>
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

    /// <summary>The sequence of a step in a process, which has one row where two processes divide guidance.</summary>
    internal static SequenceShape OwnShape(ITransformerConfig config, SamplingPlan plan, int unit, int stage, SamplerOptions sampler) =>
        Shape(config, plan, unit, stage) is var shape && sampler.Ways is { Guidance: 2 } ? shape with { Rows = 1 } : shape;

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

    /// <summary>Operations that a history cache saves in one unit at one stage.</summary>
    internal static double SavedByHistory(ITransformerConfig config, SequenceShape shape, SamplingPlan plan, int unit, KeptStage kept, long held)
    {
        var rows = kept.IsGuided ? shape : shape with { Rows = 1 };
        var count = Math.Min(kept.Timesteps, plan.PrefixesOf(unit, kept.Stage, kept.IsGuided));
        return (double)count * (DitFlops.Prefix(config, rows) - DitFlops.Prefix(config, rows, held));
    }

    /// <summary>Decoding the latent frames of a unit.</summary>
    internal static double Decode(CausalVideoVaeConfig config, SamplingPlan plan, int unit, TileOptions? tiles)
    {
        var (count, tileHeight, tileWidth) = Tiles(config, plan, tiles);
        var frames = plan.FramesOf(unit);
        // Later units continue the frames before them, so their cost is the difference between a longer and a shorter video.
        var tile = unit == 0
            ? VaeFlops.Decode(config, frames, tileHeight, tileWidth)
            : VaeFlops.Decode(config, frames + 2, tileHeight, tileWidth) - VaeFlops.Decode(config, 2, tileHeight, tileWidth);
        return (double)count * tile;
    }

    /// <summary>Number of tiles of a frame, and rows and columns of latents of each.</summary>
    internal static (long Count, long Height, long Width) Tiles(CausalVideoVaeConfig config, SamplingPlan plan, TileOptions? tiles)
    {
        var side = tiles is null ? long.MaxValue : tiles.Size / config.SpatialScale;
        var (rows, tileHeight) = Cut(plan.Height);
        var (columns, tileWidth) = Cut(plan.Width);
        return (rows * columns, tileHeight, tileWidth);

        (long Count, long Length) Cut(long total) => total <= side
            ? (1, total)
            : ((long)Math.Ceiling(((total - side) / (side * (1 - tiles!.Overlap))) + 1), side);
    }

    /// <summary>Encoding the prompt and the negative prompt, both at maximum length.</summary>
    internal static double Text(PlannedModel model, bool guided)
    {
        var rows = guided ? 2 : 1;
        return TextFlops.T5(model.T5, rows, TextTokens) + model.Clips.Sum(clip => TextFlops.Clip(clip, rows, clip.MaxPositionEmbeddings));
    }
}
