using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Dit;

/// <summary>What is learned of a clip in each stage's batch.</summary>
internal sealed class ClipObjective
{
    private readonly FlowObjective flow;
    private readonly bool whole;

    /// <summary>Prepares an objective.</summary>
    /// <param name="kind">Which.</param>
    /// <param name="corruptRatio">Largest share of noise mixed into the history, where there is one.</param>
    internal ClipObjective(DitObjective kind, double corruptRatio)
    {
        whole = kind == DitObjective.FullSequence;
        Stages = StagesOf(kind);
        var scheduler = new PyramidFlowScheduler(whole ? new FlowOptions { Stages = 1, StageRange = [0, 1] } : null);
        flow = new FlowObjective(scheduler, new ObjectiveOptions { SampleRatios = [.. Enumerable.Repeat(1, Stages)], CorruptRatio = corruptRatio });
    }

    /// <summary>Stages that are trained.</summary>
    internal int Stages { get; }

    /// <summary>Stages of an objective.</summary>
    internal static int StagesOf(DitObjective kind) => kind == DitObjective.FullSequence ? 1 : 3;

    /// <summary>How many frames of a clip a batch shows: all where they are learned together, else 2 or more.</summary>
    /// <param name="random">Source of the draw.</param>
    /// <param name="longest">Latent frames of a clip.</param>
    internal int Frames(SpriteRandom random, int longest) => whole ? longest : 2 + random.NextInt(longest - 1);

    /// <summary>Inputs and targets of one stage.</summary>
    /// <param name="latents">Clean latents, [b, c, t, h, w].</param>
    /// <param name="stage">0 is the lowest resolution.</param>
    /// <param name="draws">Source of all draws.</param>
    internal FlowBatch Draw(Tensor latents, int stage, ITrainingDraws draws) =>
        whole ? flow.Draw(latents, null, draws) : flow.DrawStage(latents, stage, draws);
}
