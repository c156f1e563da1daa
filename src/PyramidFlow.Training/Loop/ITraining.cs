using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>What a trainer provides to <see cref="TrainingLoop"/>, which does everything else.</summary>
internal interface ITraining
{
    /// <summary>Identifies the run; a saved state with another identity is rejected.</summary>
    string Identity { get; }

    /// <summary>Identity that earlier versions gave the run; their states go on too.</summary>
    string EarlierIdentity => Identity;

    /// <summary>The networks that are updated, in the order in which they are saved.</summary>
    IReadOnlyList<TrainingPart> Parts { get; }

    /// <summary>Other tensors that training changes; saved with the state and loaded in place.</summary>
    IReadOnlyList<(string Key, Tensor Tensor)> Buffers => [];

    /// <summary>The data, for the first line of the run; null where there is nothing to say.</summary>
    TrainingData? Data => null;

    /// <summary>What the training was planned to take, for the first line of the run; null where it was not planned.</summary>
    TrainingPlan? Plan => null;

    /// <summary>Writes what a run says about itself, once its folder belongs to this process alone.</summary>
    void BeginRun()
    {
    }

    /// <summary>Adds the gradients of a micro-batch, multiplied by its scale, to those of the parts.</summary>
    /// <param name="batch">The micro-batch.</param>
    BatchLosses Backward(MicroBatch batch);

    /// <summary>Creates the inputs of a micro-batch again, for the file that is saved when a loss is not finite.</summary>
    /// <param name="batch">The micro-batch.</param>
    IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch);

    /// <summary>Writes the weights at a checkpoint (the EMA where there is one), and optionally measures them.</summary>
    /// <returns>Measurements for the metrics.</returns>
    IReadOnlyList<(string Name, double Value)> Publish();

    /// <summary>Items that are measured at every checkpoint and not trained on; null where there are none.</summary>
    HeldOutItems? HeldOut => null;

    /// <summary>Writes the weights of <see cref="Publish"/> once more, as those with the least loss of <see cref="HeldOut"/>; measures nothing.</summary>
    /// <param name="best">Folder for them.</param>
    void PublishBest(RunFolder best)
    {
    }

    /// <summary>Writes a contact sheet of samples from the current weights.</summary>
    /// <param name="path">PNG file to write.</param>
    /// <param name="cancellationToken">Cancels the operation.</param>
    /// <returns>False if the trainer makes no samples.</returns>
    /// <exception cref="PyramidFlow.Media.MediaException">The file cannot be written; the run continues.</exception>
    bool Sample(string path, CancellationToken cancellationToken) => false;
}

/// <summary>
/// Identifies one micro-batch of one process. All random draws are keyed by these numbers, so that a resumed run needs no state
/// of data or generators, and two processes with one worker draw the same numbers as one process with two workers.
/// </summary>
/// <param name="Seed">Seed of the run.</param>
/// <param name="Step">Step that the batch belongs to, from 0.</param>
/// <param name="Number">Number of the micro-batch in the run, from 0: step x micro-batches of a step + index.</param>
/// <param name="Scale">Factor of its gradients, so that the micro-batches of a step add up to their mean.</param>
/// <param name="Rank">Rank of this process, from 0, among those that compute parts of the micro-batch.</param>
/// <param name="Ranks">Number of processes that compute parts of it; 1 where whole micro-batches are shared among the processes.</param>
internal readonly record struct MicroBatch(long Seed, long Step, long Number, double Scale, int Rank = 0, int Ranks = 1)
{
    /// <summary>Index of a worker among the workers of all processes.</summary>
    /// <param name="worker">Worker of this process, from 0.</param>
    /// <param name="workers">Number of workers of a process.</param>
    public int Share(int worker, int workers) => (Rank * workers) + worker;

    /// <summary>Random generator of a worker; the caller disposes it.</summary>
    /// <inheritdoc cref="Share"/>
    public RandomGenerator Draws(int worker = 0, int workers = 1) =>
        TrainingState.Draws(Seed, (Number * Ranks * workers) + Share(worker, workers));
}

/// <summary>Losses of one batch.</summary>
/// <param name="Loss">The training loss, a mean over the batch.</param>
/// <param name="Named">Its terms and other values to log; the names are the same for every batch.</param>
/// <param name="Tokens">Tokens (or another unit of work) that passed through the network.</param>
internal sealed record BatchLosses(double Loss, IReadOnlyList<(string Name, double Value)> Named, long Tokens)
{
    /// <summary>Floating-point operations of the matrix products; 0 if they are not counted.</summary>
    public long Flops { get; init; }

    /// <summary>Mean losses, and sums of tokens and operations, of several batches.</summary>
    public static BatchLosses Mean(IReadOnlyList<BatchLosses> batches) => batches.Count == 1 ? batches[0] : new BatchLosses(
        batches.Average(batch => batch.Loss),
        [.. batches[0].Named.Select((first, i) => (first.Name, batches.Average(batch => batch.Named[i].Value)))],
        batches.Sum(batch => batch.Tokens))
    {
        Flops = batches.Sum(batch => batch.Flops),
    };
}
