using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// Names one batch of one process. Whatever is drawn for it follows from these numbers alone, so that a resumed run needs
/// no state of data or generators, and so that two processes of one worker draw what one process of two workers does.
/// </summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="Step">The step it is for, from 0.</param>
/// <param name="Number">Its number among all of the run, from 0: steps x accumulation.</param>
/// <param name="Scale">Factor of its gradients, so that those of a step's batches add up to their mean.</param>
/// <param name="Rank">This process, from 0.</param>
/// <param name="Ranks">Number of processes.</param>
public readonly record struct MicroBatch(long Seed, long Step, long Number, double Scale, int Rank = 0, int Ranks = 1)
{
    /// <summary>Number of a worker among those of all processes.</summary>
    /// <param name="worker">The worker, from 0.</param>
    /// <param name="workers">Workers of a process.</param>
    public int Share(int worker, int workers) => (Rank * workers) + worker;

    /// <summary>Generator of a worker's draws; the caller disposes it.</summary>
    /// <inheritdoc cref="Share"/>
    public RandomGenerator Draws(int worker = 0, int workers = 1) =>
        TrainingState.Draws(Seed, (Number * Ranks * workers) + Share(worker, workers));
}
