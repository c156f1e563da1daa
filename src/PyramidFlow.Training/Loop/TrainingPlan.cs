using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>How certain the bytes of a part of the memory are.</summary>
internal enum PlannedKind
{
    /// <summary>They follow from shapes.</summary>
    Exact,

    /// <summary>They are counted from what operations keep, and within a tenth of what was measured.</summary>
    Counted,

    /// <summary>Pages of a file, which the system can give back and read again.</summary>
    Mapped,
}

/// <summary>A part of the memory of a training.</summary>
/// <param name="Name">What it is.</param>
/// <param name="Bytes">Its bytes.</param>
/// <param name="Kind">How certain they are.</param>
/// <param name="OnHost">Whether it is in the memory of the machine where the training is on a GPU.</param>
internal sealed record PlannedPart(string Name, long Bytes, PlannedKind Kind = PlannedKind.Exact, bool OnHost = false);

/// <summary>What is in memory in one phase of a training.</summary>
/// <param name="Name">The phase.</param>
/// <param name="Parts">Its parts.</param>
internal sealed record PlannedPhase(string Name, IReadOnlyList<PlannedPart> Parts)
{
    /// <summary>Whether it lies between steps, such as a checkpoint, so that a probe of some steps does not reach it.</summary>
    public bool IsBetweenSteps { get; init; }

    // What was counted may be this much too high.
    private const int Doubt = 10;

    /// <summary>Bytes of all parts, of the device or of the host.</summary>
    public long Bytes(bool onHost = false) => Of(onHost).Sum(part => part.Bytes);

    /// <summary>Bytes without pages of files, which the system can read again.</summary>
    public long Held(bool onHost = false) => Of(onHost).Where(part => part.Kind != PlannedKind.Mapped).Sum(part => part.Bytes);

    /// <summary>Bytes that the phase takes for certain: a run that has fewer ends in it.</summary>
    public long Certain(bool onHost = false) => Of(onHost).Sum(part => part.Kind switch
    {
        PlannedKind.Mapped => 0,
        PlannedKind.Counted => part.Bytes - (part.Bytes / Doubt),
        _ => part.Bytes,
    });

    private IEnumerable<PlannedPart> Of(bool onHost) => Parts.Where(part => part.OnHost == onHost && part.Bytes > 0);
}

/// <summary>What a training takes, computed from its configuration, sizes of its data and shapes of its networks; no weight is read.</summary>
internal sealed record TrainingPlan
{
    /// <summary>Processes of the training.</summary>
    public required int Ranks { get; init; }

    /// <summary>Where it trains.</summary>
    public required Device Device { get; init; }

    /// <summary>Memory of one process, phase by phase; the largest of each kind.</summary>
    public required IReadOnlyList<PlannedPhase> Phases { get; init; }

    /// <summary>Numbers that are trained.</summary>
    public required long Weights { get; init; }

    /// <summary>Operations of matrix products in a step of one process.</summary>
    public required double Products { get; init; }

    /// <summary>Operations of convolutions in a step of one process.</summary>
    public required double Convolutions { get; init; }

    /// <summary>Bytes that a process sends in a step.</summary>
    public required double SentBytes { get; init; }

    /// <summary>Bytes of a saved state.</summary>
    public required long StateBytes { get; init; }

    /// <summary>States that are in the folder at most, one that is being written among them.</summary>
    public required int States { get; init; }

    /// <summary>Whether the weights with the least held-out loss are kept beside the newest ones.</summary>
    public required bool KeepsBest { get; init; }

    /// <summary>Bytes of the published weights.</summary>
    public required long PublishedBytes { get; init; }

    /// <summary>Most bytes of all sheets of samples, as if their pictures did not compress.</summary>
    public required long SampleBytes { get; init; }

    /// <summary>Bytes of other files on the disk, such as a cache of latents.</summary>
    public long OtherBytes { get; init; }

    /// <summary>Size of the largest items that the plan is for.</summary>
    public required string Largest { get; init; }

    /// <summary>The phase with the most memory of the device.</summary>
    public PlannedPhase Peak => Phases.MaxBy(phase => phase.Bytes())!;

    /// <summary>Most bytes of the device.</summary>
    public long PeakBytes => Peak.Bytes();

    /// <summary>Most bytes of the host where the training is on a GPU.</summary>
    public long HostBytes => Phases.Max(phase => phase.Bytes(onHost: true));

    /// <summary>Most bytes of the device without pages of files.</summary>
    public long HeldBytes => Phases.Max(phase => phase.Held());

    /// <summary>Bytes of the device without which a run ends for certain.</summary>
    public long CertainBytes => Phases.Max(phase => phase.Certain());

    /// <summary>Most bytes of the device in what comes before the steps and in the steps themselves, which is what a probe measures.</summary>
    public long ProbedBytes(bool onHost = false) => Phases.Where(phase => !phase.IsBetweenSteps).Max(phase => phase.Bytes(onHost));

    /// <summary>Bytes on the disk at most.</summary>
    public long DiskBytes => (States * StateBytes) + ((KeepsBest ? 2 : 1) * PublishedBytes) + SampleBytes + OtherBytes;

    /// <summary>Time of a step in seconds, at the share of a machine's speed that whole models reach; without transfers.</summary>
    public double SecondsPerStep(MachineSpeed speed) => ((Products / speed.Products) + (Convolutions / speed.Convolutions)) / MachineSpeed.ReachedShare;
}

/// <summary>Memory, disk and transfers of weights that are updated together (<see cref="TrainingPart"/>).</summary>
/// <param name="Count">Numbers that are trained.</param>
/// <param name="Compute">Element type of the computation.</param>
/// <param name="Config">The configuration.</param>
/// <param name="Ranks">Processes.</param>
/// <param name="Device">Where they are.</param>
/// <param name="IsAveraged">Whether an average is kept, if the configuration asks for one.</param>
internal sealed record PlannedState(long Count, ElementType Compute, LoopConfig Config, int Ranks, Device Device, bool IsAveraged = true)
{
    private const int Moments = 2;

    /// <summary>Numbers of the share that this process updates.</summary>
    public long Held => Config.Shard == SharedState.None ? Count : (Count + Ranks - 1) / Ranks;

    /// <summary>Bytes beside the state while a GPU updates the weights: the whole share at once, or a part of it where moments are decoded.</summary>
    public long UpdateBytes => Config.Moments == MomentForm.EightBit ? 3 * Math.Min(Held, AdamW.DecodedPiece) * sizeof(float) : Held * sizeof(float);

    private bool HasAverage => IsAveraged && Config.IsAveraged;

    /// <summary>Bytes of a saved state.</summary>
    public long StateBytes => Count * sizeof(float) * (1 + Moments + (HasAverage ? 1 : 0));

    /// <summary>Bytes that a process sends in a step: gradients are added up share by share, and sums or weights of the shares go to all.</summary>
    public double SentBytes
    {
        get
        {
            var others = (double)(Ranks - 1) / Ranks;
            return others * Count * (sizeof(float) + (Config.Shard == SharedState.None ? sizeof(float) : Compute.Size()));
        }
    }

    /// <summary>The parts of the memory.</summary>
    /// <param name="prefix">Before their names.</param>
    public IEnumerable<PlannedPart> Parts(string prefix = "")
    {
        yield return new PlannedPart($"{prefix}weights ({Compute})", Count * Compute.Size());
        if (Compute != ElementType.Float32)
            yield return new PlannedPart($"{prefix}float32 weights", Held * sizeof(float));
        yield return new PlannedPart($"{prefix}gradients", Count * sizeof(float) * Config.Workers);
        yield return new PlannedPart($"{prefix}moments", Config.Moments == MomentForm.EightBit ? Moments * (Held + (Held / MomentVector.Block * sizeof(float))) : Moments * Held * sizeof(float));
        if (HasAverage)
            yield return new PlannedPart($"{prefix}average", Held * sizeof(float), OnHost: IsAverageOnHost);
    }

    // An average on the CPU is part of the host where the rest is on a GPU.
    private bool IsAverageOnHost => Config.AverageDevice is { } device && TrainingDevice.Parse(device).Type == DeviceType.Cpu && Device.Type != DeviceType.Cpu;

    /// <summary>States in the folder at most: the newest, those that stay, and one that is being written.</summary>
    public static int StatesOf(LoopConfig config) =>
        Math.Min(config.KeepLast, (config.Steps + config.CheckpointEvery - 1) / config.CheckpointEvery) + (config.KeepEvery > 0 ? config.Steps / config.KeepEvery : 0) + 1;
}
