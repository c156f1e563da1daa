using System.Globalization;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Everything a run needs to resume exactly: weights, optimizer moments, EMA, step number and the history of the spike guard.</summary>
/// <remarks>The random draws and data of a step depend only on the seed and the step number, so no generator state is saved.</remarks>
internal sealed class TrainingState
{
    private const string StepKey = "step", RunKey = "run", SpikesKey = "spikes", OptimizerSteps = "optimizer_steps";

    private readonly IReadOnlyList<TrainingPart> parts;
    private readonly IReadOnlyList<(string Key, Tensor Tensor)> buffers;

    /// <summary>Describes the state of a trainer; the caller keeps ownership of the parts.</summary>
    /// <param name="parts">Networks that are updated; one of them may have no name.</param>
    /// <param name="guard">The spike guard.</param>
    /// <param name="buffers">Other tensors that training changes; null if there are none.</param>
    public TrainingState(IReadOnlyList<TrainingPart> parts, SpikeGuard guard, IReadOnlyList<(string Key, Tensor Tensor)>? buffers = null) =>
        (this.parts, Guard, this.buffers) = (parts, guard, buffers ?? []);

    /// <summary>Number of completed steps, including skipped ones.</summary>
    public long Step { get; set; }

    /// <summary>The spike guard.</summary>
    public SpikeGuard Guard { get; }

    /// <summary>Creates the random generator of one step.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="step">The step number.</param>
    public static RandomGenerator Draws(long seed, long step) =>
        new(unchecked(((ulong)seed * 0x9E3779B97F4A7C15UL) ^ ((ulong)step + 0x632BE59BD9B4E019UL)));

    /// <summary>Writes the state. An existing file is replaced when the new one is complete.</summary>
    /// <param name="path">Target file.</param>
    /// <param name="run">Identity of the run (its configuration); loading rejects a state of another run.</param>
    public void Save(string path, string run)
    {
        using var scope = new TensorScope();
        var metadata = new Dictionary<string, string>
        {
            [StepKey] = Step.ToString(CultureInfo.InvariantCulture), [RunKey] = run, [SpikesKey] = Guard.Save(),
        };
        foreach (var part in parts)
            metadata[Key(part, OptimizerSteps)] = part.Optimizer.Steps.ToString(CultureInfo.InvariantCulture);
        SafetensorsWriter.Write(path, Tensors(), metadata);
    }

    /// <summary>Loads a saved state.</summary>
    /// <exception cref="CheckpointException">The file belongs to another run or model, or is damaged; the state is unchanged.</exception>
    public void Load(string path, string run)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var file = SafetensorsFile.Open(path);
        if (file.Metadata.GetValueOrDefault(RunKey) != run)
            throw CheckpointFault.StateOfOtherRun(path);
        var targets = Tensors().ToList();
        foreach (var (key, target) in targets)
        {
            if (!file.Entries.TryGetValue(key, out var entry) || !entry.Shape.SequenceEqual(target.Shape))
                throw CheckpointFault.StateOfOtherModel(path, key, target.ElementCount);
        }

        var step = Number(file, path, StepKey) ?? throw CheckpointFault.StateWithoutSteps(path, StepKey);
        var steps = parts.Select(part => Number(file, path, Key(part, OptimizerSteps)) ?? step).ToList();
        var spikes = Spikes(file, path);
        Step = step;
        if (spikes is not null)
            Guard.Load(spikes);
        foreach (var (key, target) in targets)
            target.CopyFrom(file.Read(key));
        foreach (var (part, done) in parts.Zip(steps))
        {
            part.Optimizer.Steps = done;
            part.Parameters.Refresh();
        }
    }

    // States written before the spike guard existed have no history.
    private static SpikeHistory? Spikes(SafetensorsFile file, string path)
    {
        try
        {
            return file.Metadata.TryGetValue(SpikesKey, out var spikes) ? SpikeGuard.Parse(spikes) : null;
        }
        catch (MalformedTextException e)
        {
            throw CheckpointFault.StateHistory(path, SpikesKey, e.Message);
        }
    }

    private static long? Number(SafetensorsFile file, string path, string key) => !file.Metadata.TryGetValue(key, out var text) ? null
        : PlainNumber.TryWhole(text, out var number) && number >= 0 ? number
        : throw CheckpointFault.StateNumber(path, key, text);

    private static string Key(TrainingPart part, string name) => part.Name.Length == 0 ? name : $"{part.Name}.{name}";

    private IEnumerable<(string Key, Tensor Tensor)> Tensors() =>
    [
        .. parts.SelectMany(part => new (string, Tensor?)[]
        {
            (Key(part, "values"), part.Parameters.Values), (Key(part, "average"), part.Average?.Values),
            (Key(part, "first_moment"), part.Optimizer.FirstMoment), (Key(part, "second_moment"), part.Optimizer.SecondMoment),
        }).Where(pair => pair.Item2 is not null).Select(pair => (pair.Item1, pair.Item2!)),
        .. buffers.Select(buffer => ($"buffer.{buffer.Key}", buffer.Tensor)),
    ];
}
