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
    /// <param name="cancel">Stops it.</param>
    /// <returns>False where the trainer makes none.</returns>
    /// <exception cref="PyramidFlow.Media.MediaException">The file cannot be written; the run goes on.</exception>
    bool Sample(string path, CancellationToken cancel) => false;
}
