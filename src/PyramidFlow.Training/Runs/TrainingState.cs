using System.Globalization;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Runs;

/// <summary>Everything a run needs to go on exactly where it stopped: weights, moments, average and step.</summary>
/// <remarks>Draws of a step depend only on the run's seed and the step's number, so no generator state is kept.</remarks>
public sealed class TrainingState : IDisposable
{
    private const string StepKey = "step", RunKey = "run";

    /// <summary>Starts from the modules' present weights.</summary>
    public TrainingState(AdamWOptions options, params IEnumerable<(string Prefix, Module Module)> modules)
    {
        Parameters = new FlatParameters(modules);
        Optimizer = new AdamW(Parameters, options);
        Average = new ExponentialAverage(Parameters);
    }

    /// <summary>Weights and gradients.</summary>
    public FlatParameters Parameters { get; }

    /// <summary>Moments of the gradients.</summary>
    public AdamW Optimizer { get; }

    /// <summary>Running average of the weights.</summary>
    public ExponentialAverage Average { get; }

    /// <summary>Steps done.</summary>
    public long Step { get; set; }

    /// <summary>Generator of one step's draws.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="step">The step.</param>
    public static RandomGenerator Draws(long seed, long step) =>
        new(unchecked(((ulong)seed * 0x9E3779B97F4A7C15UL) ^ ((ulong)step + 0x632BE59BD9B4E019UL)));

    /// <summary>Writes the state; the file before stays until the new one is whole.</summary>
    /// <param name="path">Target file.</param>
    /// <param name="run">Identity of the run (its configuration); a state of another run is refused when loading.</param>
    public void Save(string path, string run)
    {
        using var scope = new TensorScope();
        SafetensorsWriter.Write(path,
            [
                ("values", Parameters.Values), ("average", Average.Values),
                ("first_moment", Optimizer.FirstMoment), ("second_moment", Optimizer.SecondMoment),
            ],
            new Dictionary<string, string> { [StepKey] = Step.ToString(CultureInfo.InvariantCulture), [RunKey] = run });
    }

    /// <summary>Takes a saved state over.</summary>
    /// <exception cref="CheckpointException">The file is of another run, or damaged.</exception>
    public void Load(string path, string run)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var file = SafetensorsFile.Open(path);
        if (file.Metadata.GetValueOrDefault(RunKey) != run)
            throw new CheckpointException($"{path} belongs to a run with another configuration: choose another --out, or delete it to start anew");
        foreach (var (key, target) in new[]
        {
            ("values", Parameters.Values), ("average", Average.Values),
            ("first_moment", Optimizer.FirstMoment), ("second_moment", Optimizer.SecondMoment),
        })
        {
            if (!file.Entries.TryGetValue(key, out var entry) || !entry.Shape.SequenceEqual(target.Shape))
                throw new CheckpointException($"{path} does not hold {key} of {target.ElementCount} numbers: it is of another model");
            target.CopyFrom(file.Tensor(entry));
        }

        if (!long.TryParse(file.Metadata.GetValueOrDefault(StepKey), CultureInfo.InvariantCulture, out var step))
            throw new CheckpointException($"{path} does not say how many steps were done: it is damaged, delete it to start anew");
        Step = step;
        Optimizer.Steps = Step;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Parameters.Dispose();
        Optimizer.Dispose();
        Average.Dispose();
    }
}
