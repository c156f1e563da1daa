using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Dit;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Sprites;

/// <summary>Measures held-out clips of a transformer's training in the sprites world, always with the same captions, lengths and draws.</summary>
/// <param name="config">The configuration.</param>
/// <param name="clips">The held-out clips.</param>
/// <param name="objective">Objective of the training.</param>
/// <param name="prompts">Frozen text encoders.</param>
/// <param name="transformer">The transformer.</param>
/// <param name="distiller">Gives the targets of a teacher in place of those of the clips; null has none.</param>
internal sealed class SpriteHeldOut(SpriteDitConfig config, SpriteLatents clips, ClipObjective objective, PromptEncoder prompts, TrainedTransformer transformer, Distiller? distiller = null)
{
    private const long CaptionStream = 0x4E1D;

    // Its multiples are spread evenly, so that every few rows have the configured share of images.
    private const double Golden = 0.6180339887498949;

    /// <summary>The clips; at least one is held out. In a distillation they are those of the round at work.</summary>
    internal HeldOutItems Items => new()
    {
        Count = clips.Count,
        Identity = FormattableString.Invariant(
            $"{clips.Count} after {config.Clips} of seed {config.Seed} turns {config.TurnShare:R} colour {config.ExtraColour} {config.Objective} {config.CorruptRatio:R} {config.ImageShare:R} {config.Precision}{(distiller is null ? "" : " " + distiller.LossIdentity)}"),
        Stages = [.. Enumerable.Range(0, objective.Stages).Select(stage => (stage, 1.0))],
        Losses = (clip, rows) => [.. rows.Select(row => Losses(clip, row))],
        IsBestKept = config.KeepBest,
    };

    private double[] Losses(int clip, int row)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var draws = new FixedDraws(row);
        var place = row * Golden;
        var random = new KeyedRandom(0, CaptionStream, row);
        var frames = place - Math.Floor(place) < config.ImageShare ? 1 : objective.Frames(random, clips.Frames);
        var (latents, attributes) = clips.One(clip, frames);
        var features = prompts.Encode([SpriteCaptions.Caption(attributes, random)]);
        var text = new TextCondition(features.Tokens, TextMask.OfLengths(features.Lengths), features.Pooled);
        return [.. Enumerable.Range(0, objective.Stages).Select(stage => (double)FlowStep.Evaluate(transformer.Workers.Model, Inputs(stage), text).Mean().Item())];

        FlowBatch Inputs(int stage)
        {
            var inputs = objective.Draw(latents, stage, draws, distiller?.Steps);
            return distiller?.Teach(inputs, text) ?? inputs;
        }
    }
}
