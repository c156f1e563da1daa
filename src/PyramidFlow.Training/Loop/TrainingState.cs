using System.Globalization;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Everything a run needs to resume exactly: weights, optimizer moments, EMA, step number and the history of the spike guard.</summary>
/// <remarks>The random draws and data of a step depend only on the seed and the step number, so no generator state is saved.</remarks>
internal sealed class TrainingState
{
    private const string ValuesKey = "values", StepKey = "step", RunKey = "run", SpikesKey = "spikes", OptimizerSteps = "optimizer_steps";
    private const string BestStepKey = "best_step", BestLossKey = "best_loss", BestOfKey = "best_of";

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

    /// <summary>The weights with the least loss of held-out items so far; null where none was measured.</summary>
    public BestWeights? Best { get; set; }

    /// <summary>Values of the configuration that go into the file, for <see cref="GoingOnConfig.GoingOn"/>.</summary>
    public IEnumerable<(string Key, string Value)> Kept { get; init; } = [];

    /// <summary>Creates the random generator of one step.</summary>
    /// <param name="seed">Seed of the run.</param>
    /// <param name="step">The step number.</param>
    public static RandomGenerator Draws(long seed, long step) =>
        new(unchecked(((ulong)seed * 0x9E3779B97F4A7C15UL) ^ ((ulong)step + 0x632BE59BD9B4E019UL)));

    /// <summary>
    /// Writes the state. An existing file is replaced when the new one is complete. Where processes hold shares, all of them call this: rank zero writes the same file as
    /// without shares, from pieces that the others send, so that any number of processes can go on.
    /// </summary>
    /// <param name="path">Target file.</param>
    /// <param name="run">Identity of the run (its configuration); loading rejects a state of another run.</param>
    public void Save(string path, string run)
    {
        using var scope = new TensorScope();
        var metadata = new Dictionary<string, string>
        {
            [StepKey] = Step.ToString(CultureInfo.InvariantCulture), [RunKey] = run, [SpikesKey] = Guard.Save(),
        };
        foreach (var (key, value) in Kept)
            metadata[key] = value;
        if (Best is { } best)
        {
            metadata[BestStepKey] = best.Step.ToString(CultureInfo.InvariantCulture);
            metadata[BestLossKey] = best.Loss.ToString("R", CultureInfo.InvariantCulture);
            metadata[BestOfKey] = best.Of;
        }

        foreach (var part in parts)
            metadata[Key(part, OptimizerSteps)] = part.Optimizer.Steps.ToString(CultureInfo.InvariantCulture);
        var tensors = Tensors().ToList();
        if (parts.Any(part => part.Sharers is { Rank: > 0 }))
        {
            foreach (var tensor in tensors)
                Write(tensor, (_, _) => { });
            return;
        }

        var index = 0;
        SafetensorsWriter.Write(path, [.. tensors.Select(tensor => new TensorDeclaration(tensor.Key, tensor.Type, tensor.Shape))],
            (file, entry) => Write(tensors[index++], (start, piece) => SafetensorsWriter.WriteData(file, entry with { Offset = entry.Offset + (start * entry.Type.Size()) }, piece)), metadata);
    }

    // Shares arrive in pieces; anything else is one.
    private static void Write(SavedTensor tensor, Action<long, Tensor> take)
    {
        using var scope = new TensorScope();
        if (tensor.Division is { Sharers: { } group } part)
            group.Collect(tensor.Held, part.Parameters.Count, take);
        else
            tensor.Read(take);
    }

    /// <summary>Loads a saved state.</summary>
    /// <param name="path">The file.</param>
    /// <param name="run">Identity of the run.</param>
    /// <param name="earlier">Identity of the run in earlier versions; null is the same.</param>
    /// <exception cref="TrainingException">The file is damaged; the state is unchanged.</exception>
    /// <exception cref="CheckpointException">The file belongs to another run or model, or has a malformed value; the state is unchanged.</exception>
    public void Load(string path, string run, string? earlier = null)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var file = RunFolder.OpenState(path);
        if (file.Metadata.GetValueOrDefault(RunKey) is var saved && saved != run && saved != (earlier ?? run))
            throw CheckpointFault.StateOfOtherRun(path);
        var targets = Tensors().ToList();
        foreach (var target in targets)
        {
            if (!file.Entries.TryGetValue(target.Key, out var entry) || !entry.Shape.SequenceEqual(target.Shape))
                throw CheckpointFault.StateOfOtherModel(path, target.Key, Shapes.ElementCount(target.Shape));
        }

        var step = Number(file, path, StepKey) ?? throw CheckpointFault.StateWithoutSteps(path, StepKey);
        var steps = parts.Select(part => Number(file, path, Key(part, OptimizerSteps)) ?? step).ToList();
        var (spikes, best) = (Spikes(file, path), ReadBest(file, path));
        (Step, Best) = (step, best);
        if (spikes is not null)
            Guard.Load(spikes);
        var weights = parts.Select(part => Key(part, ValuesKey)).ToHashSet();
        foreach (var target in targets.Where(target => !weights.Contains(target.Key)))
        {
            using var inner = new TensorScope();
            var all = file.Read(target.Key);
            target.Fill(target.Division is { } part ? part.Parameters.HeldOf(all) : all);
        }

        foreach (var (part, done) in parts.Zip(steps))
        {
            using var inner = new TensorScope();
            part.Optimizer.Steps = done;
            part.Parameters.Load(file.Read(Key(part, ValuesKey)));
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

    private static BestWeights? ReadBest(SafetensorsFile file, string path)
    {
        if (Number(file, path, BestStepKey) is not { } step)
            return null;
        var text = file.Metadata.GetValueOrDefault(BestLossKey, "");
        return PlainNumber.TryReal(text, out var loss) ? new BestWeights(step, loss, file.Metadata.GetValueOrDefault(BestOfKey, "")) : throw CheckpointFault.StateNumber(path, BestLossKey, text);
    }

    private static long? Number(SafetensorsFile file, string path, string key) => !file.Metadata.TryGetValue(key, out var text) ? null
        : PlainNumber.TryWhole(text, out var number) && number >= 0 ? number
        : throw CheckpointFault.StateNumber(path, key, text);

    private static string Key(TrainingPart part, string name) => part.Name.Length == 0 ? name : $"{part.Name}.{name}";

    private IEnumerable<SavedTensor> Tensors() =>
    [
        .. parts.SelectMany(part => new[]
        {
            // In float32 the weights that modules see are those of all processes.
            part.Parameters.Computed is { Type: ElementType.Float32 } all ? new SavedTensor(Key(part, ValuesKey), all, null) : Divided(part, ValuesKey, part.Parameters.Values),
            part.Average is { } average ? Divided(part, "average", average.Values) : null,
            Moment(part, "first_moment", part.Optimizer.First), Moment(part, "second_moment", part.Optimizer.Second),
        }).OfType<SavedTensor>(),
        .. buffers.Select(buffer => new SavedTensor($"buffer.{buffer.Key}", buffer.Tensor, null)),
    ];

    private static SavedTensor Divided(TrainingPart part, string name, Tensor held) => new(Key(part, name), held, part);

    private static SavedTensor Moment(TrainingPart part, string name, MomentVector moment) =>
        moment.IsInCodes ? new SavedTensor(Key(part, name), null, part) { Moment = moment } : Divided(part, name, moment.Values);

    // A tensor of the state: what this process holds of it, and the part whose weights it is divided like, if it is.
    private sealed record SavedTensor(string Key, Tensor? Tensor, TrainingPart? Division)
    {
        // In 8-bit codes, in place of the tensor. In the file they are float32, so that a run may go on without them.
        public MomentVector? Moment { get; init; }

        public ElementType Type => Tensor?.Type ?? ElementType.Float32;

        // As in the file.
        public long[] Shape => Division is { } part ? [part.Parameters.Count] : Tensor!.Shape;

        public Tensor Held => Tensor ?? Moment!.Read(0, Division!.Parameters.Held.Length);

        public void Read(Action<long, Tensor> take)
        {
            if (Moment is { } moment)
                moment.Read(take);
            else
                take(0, Tensor!);
        }

        public void Fill(Tensor held)
        {
            Moment?.Load(held);
            Tensor?.CopyFrom(held);
        }
    }
}
