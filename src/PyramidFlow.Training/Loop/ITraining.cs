using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>What a trainer gives <see cref="TrainingLoop"/>, which does everything else.</summary>
public interface ITraining
{
    /// <summary>Says which run this is; a state of another one is refused.</summary>
    string Identity { get; }

    /// <summary>The networks that step, in the order in which they are saved.</summary>
    IReadOnlyList<TrainingPart> Parts { get; }

    /// <summary>Other tensors that training changes; saved with the state and loaded in place.</summary>
    IReadOnlyList<(string Key, Tensor Tensor)> Buffers => [];

    /// <summary>Adds a batch's gradients, times its scale, to those of the parts.</summary>
    /// <param name="batch">Which one.</param>
    BatchLosses Backward(MicroBatch batch);

    /// <summary>Makes a batch's inputs again, for the file that is saved when a loss is not a number.</summary>
    /// <param name="batch">Which one.</param>
    IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch);

    /// <summary>Writes the weights at a checkpoint, those of the averages, and measures them if it wants to.</summary>
    /// <returns>Measured values for the metrics.</returns>
    IReadOnlyList<(string Name, double Value)> Publish();

    /// <summary>Writes a contact sheet of what the present weights make.</summary>
    /// <param name="path">PNG file to write.</param>
    /// <param name="cancellationToken">Stops it.</param>
    /// <returns>False where the trainer makes none.</returns>
    /// <exception cref="PyramidFlow.Media.MediaException">The file cannot be written; the run goes on.</exception>
    bool Sample(string path, CancellationToken cancellationToken) => false;
}

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

/// <summary>What one batch gave, besides its gradients.</summary>
/// <param name="Loss">The loss that is trained, a mean over the batch.</param>
/// <param name="Named">Its parts and whatever else is worth a line, under names that are the same for every batch.</param>
/// <param name="Tokens">Tokens, or what else the work is counted in, that went through the network.</param>
public sealed record BatchLosses(double Loss, IReadOnlyList<(string Name, double Value)> Named, long Tokens)
{
    /// <summary>Operations of the matrix products; 0 where they are not counted.</summary>
    public long Flops { get; init; }

    /// <summary>Mean losses and all tokens and operations of several batches.</summary>
    public static BatchLosses Mean(IReadOnlyList<BatchLosses> batches) => batches.Count == 1 ? batches[0] : new BatchLosses(
        batches.Average(batch => batch.Loss),
        [.. batches[0].Named.Select((first, i) => (first.Name, batches.Average(batch => batch.Named[i].Value)))],
        batches.Sum(batch => batch.Tokens))
    {
        Flops = batches.Sum(batch => batch.Flops),
    };
}
