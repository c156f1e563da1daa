using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>Measures the held-out items of a run at its checkpoints, and keeps the weights with the least loss. All processes of a group come to the same results.</summary>
internal sealed class Evaluation
{
    private readonly ITraining training;
    private readonly TrainingState state;
    private readonly ProcessGroup? group;
    private readonly BestFolder best;
    private long? measured;

    /// <summary>Begins where the state is.</summary>
    /// <param name="training">The trainer.</param>
    /// <param name="state">Its state, loaded where there was one; what it knows of the best weights is forgotten where these are no longer there or were measured otherwise.</param>
    /// <param name="folder">Folder of the run.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    /// <param name="goesOn">Whether the state was loaded: its step was measured before it was saved.</param>
    public Evaluation(ITraining training, TrainingState state, RunFolder folder, ProcessGroup? group, bool goesOn)
    {
        (this.training, this.state, this.group, best) = (training, state, group, new BestFolder(folder));
        measured = goesOn ? state.Step : null;
        if (training.HeldOut is not { } heldOut || state.Best is not { } known)
            return;
        var isThere = best.Read() == known;
        if (!heldOut.IsBestKept || known.Of != heldOut.Identity || (!isThere && known.Step != state.Step))
            state.Best = null;
        else
            IsBestLost = !isThere;
    }

    /// <summary>Whether the weights that the run begins with are the best, and an interruption came before they were kept.</summary>
    public bool IsBestLost { get; }

    /// <summary>Measures the published weights and compares them with the best ones. All processes call it.</summary>
    /// <param name="isDue">Whether a measurement is due at this step.</param>
    /// <returns>Null where none is due, nothing is held out, or the step is measured already.</returns>
    public HeldOutLoss? Measure(bool isDue)
    {
        if (!isDue || measured == state.Step || training.HeldOut is not { } heldOut)
            return null;
        measured = state.Step;
        var loss = training.Parts[0].WithAverageEverywhere(() => heldOut.Measure(group));

        // What a run begins with is measured only: the model that it comes from has it.
        // Losses of another identity, as that of another round of a distillation, are not compared.
        var least = state.Best is { } known && known.Of == heldOut.Identity ? known.Loss : double.PositiveInfinity;
        if (heldOut.IsBestKept && state.Step > 0 && loss.Loss < least)
            state.Best = new BestWeights(state.Step, loss.Loss, heldOut.Identity);
        return loss;
    }

    /// <summary>Keeps the weights of this step if they are the best. Rank zero calls it while it has all weights to publish.</summary>
    public void KeepBest()
    {
        if (training.HeldOut is not null && state.Best is { } known && known.Step == state.Step)
            best.Write(training, known);
    }

    /// <summary>A loss in one line, with what it is compared to.</summary>
    public string Line(HeldOutLoss loss)
    {
        var values = string.Join(", ", loss.Named.Select(value => FormattableString.Invariant($"{value.Name} {value.Value:F4}")));
        return state.Best is not { } known ? values
            : known.Step == state.Step ? $"{values}, the least so far"
            : FormattableString.Invariant($"{values}, the least is {known.Loss:F4} of step {known.Step}");
    }
}
