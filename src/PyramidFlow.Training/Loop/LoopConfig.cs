using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Formats;

namespace PyramidFlow.Training.Loop;

/// <summary>Settings of the training loop; base of every training configuration, whose keys stand beside these.</summary>
public abstract record LoopConfig
{
    /// <summary>Key of <see cref="Schema"/>.</summary>
    internal const string SchemaKey = "$schema";

    private const string LearningRateKey = "learning_rate", WarmUpKey = "warm_up_steps";

    // A twentieth of the steps warms up where the configuration gives no number.
    private const int StepsOfOneWarmUpStep = 20;

    private double? learningRate;
    private int? warmUpSteps;

    /// <summary>JSON schema of the file, by which editors complete and check the keys; training ignores it.</summary>
    [JsonPropertyName(SchemaKey)]
    public string? Schema { get; set; }

    /// <summary>Seed of weights, data and random draws.</summary>
    public long Seed { get; set; } = 1;

    /// <summary>Number of training steps.</summary>
    public int Steps { get; set; } = 10_000;

    /// <summary>Number of threads that each compute a part of every batch; divides the batch. Results are reproducible for a fixed number only.</summary>
    public int Workers { get; set; } = 1;

    /// <summary>CPU threads of each operator; null is all that the machine has, and one in the sprites world. Small networks may be faster with fewer (<c>plan train --probe</c>); the last digits of a result depend on the number.</summary>
    public int? Threads { get; set; }

    /// <summary>Gradient accumulation: number of micro-batches per step; at least 1.</summary>
    public int Accumulation { get; set; } = 1;

    /// <summary>
    /// Number of micro-batches per step of all processes together, in place of <see cref="Accumulation"/>; a multiple of the number of processes. The items, random numbers and steps of a run
    /// then do not depend on the number of processes. Null: each process computes <see cref="Accumulation"/> micro-batches of its own.
    /// </summary>
    public int? BatchesPerStep { get; set; }

    /// <summary>Peak learning rate.</summary>
    public double LearningRate
    {
        get => learningRate ?? UsualLearningRate;
        set => learningRate = value;
    }

    /// <summary>Learning rate at the end of a decaying schedule; null is a twentieth of the peak.</summary>
    public double? FinalLearningRate { get; set; }

    /// <summary>Steps of linear warmup; a configuration that gives none has a twentieth of <see cref="Steps"/>, up to a limit.</summary>
    public int WarmUpSteps
    {
        get => warmUpSteps ?? (int)Math.Min(MostWarmUpSteps, ((long)Math.Max(0, Steps) + StepsOfOneWarmUpStep - 1) / StepsOfOneWarmUpStep);
        set => warmUpSteps = value;
    }

    /// <summary>Learning-rate schedule after the warmup: <c>constant</c>, <c>cosine</c>, <c>linear_second_half</c>.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<LearningRateShape>))]
    public LearningRateShape Schedule { get; set; }

    /// <summary>Adam's beta 1: decay of the running mean of the gradient; in [0, 1).</summary>
    public double Beta1 { get; set; } = 0.9;

    /// <summary>Adam's beta 2: decay of the running mean of the squared gradient; in [0, 1).</summary>
    public double Beta2 { get; set; } = 0.95;

    /// <summary>Decoupled weight decay.</summary>
    public double WeightDecay { get; set; } = 1e-4;

    /// <summary>How the optimizer holds its moments: <c>float32</c>, or <c>eight_bit</c> codes of blocks, which take 2 bytes of a weight in place of 8.</summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<MomentForm>))]
    public MomentForm Moments { get; set; }

    /// <summary>Gradient clipping: largest norm; 0 does not clip.</summary>
    public double ClipNorm { get; set; } = 1;

    /// <summary>Compute type of the network: <c>float32</c> (or <c>fp32</c>) or <c>bfloat16</c> (or <c>bf16</c>).</summary>
    [JsonConverter(typeof(TrainingPrecisionConverter))]
    public TrainingPrecision Precision { get; set; }

    /// <summary>Gradient checkpointing: share of the blocks that recompute their activations in the backward pass; 0 to 1.</summary>
    public double CheckpointRatio { get; set; }

    /// <summary>Decay of the exponential moving average (EMA) of the weights, less during the first steps; 0 keeps no EMA.</summary>
    public double AverageDecay { get; set; } = 0.999;

    /// <summary>Replaces <see cref="AverageDecay"/>: the EMA covers this share of the completed steps; 0 is off.</summary>
    public double AverageHorizon { get; set; }

    /// <summary>Device of the EMA, such as <c>cpu</c> to save GPU memory; null is the device of the weights.</summary>
    public string? AverageDevice { get; set; }

    /// <summary>A step is skipped if its loss or gradient norm exceeds the running median by this factor; 0 never skips.</summary>
    public double SpikeFactor { get; set; } = 10;

    /// <summary>
    /// What each of several processes holds for its share of the weights only: <c>none</c>, <c>optimizer</c> (moments, EMA and the float32 weights behind a bfloat16
    /// computation) or <c>gradients</c> (after backward, the gradients too).
    /// </summary>
    [JsonConverter(typeof(SnakeCaseEnumConverter<SharedState>))]
    public SharedState Shard { get; set; }

    /// <summary>Number of steps between two checkpoints.</summary>
    public int CheckpointEvery { get; set; } = 500;

    /// <summary>Number of newest states to keep; at least 1.</summary>
    public int KeepLast { get; set; } = 2;

    /// <summary>Also keeps states of steps that are multiples of this; 0 keeps none.</summary>
    public int KeepEvery { get; set; }

    /// <summary>Number of steps between two contact sheets of samples, where the trainer makes them; 0 makes none.</summary>
    public int SampleEvery { get; set; }

    /// <summary>Number of steps between two lines of metrics.</summary>
    public int LogEvery { get; set; } = 20;

    /// <summary>Peak learning rate of a configuration that gives none.</summary>
    protected virtual double UsualLearningRate => 1e-4;

    /// <summary>The same, in versions whose states do not hold the rate.</summary>
    protected virtual double EarlierLearningRate => UsualLearningRate;

    /// <summary>Longest warmup of a configuration that gives none; in versions whose states do not hold the warmup, the warmup itself.</summary>
    protected virtual int MostWarmUpSteps => 1000;

    /// <summary>Values that a state holds so that the run goes on with them, whatever the defaults are then.</summary>
    internal virtual IEnumerable<(string Key, string Value)> Kept =>
        [(LearningRateKey, LearningRate.ToString("R", CultureInfo.InvariantCulture)), (WarmUpKey, WarmUpSteps.ToString(CultureInfo.InvariantCulture))];

    /// <summary>Sets the values of a state where the configuration gives none.</summary>
    /// <param name="path">The state.</param>
    /// <exception cref="TrainingException">The state is damaged.</exception>
    /// <exception cref="CheckpointException">A value of the state is malformed.</exception>
    internal void Keep(string path)
    {
        using var state = RunFolder.OpenState(path);
        learningRate ??= Value(LearningRateKey) ?? EarlierLearningRate;
        warmUpSteps ??= (int)(Value(WarmUpKey) ?? MostWarmUpSteps);
        Keep(Value);

        double? Value(string key) => !state.Metadata.TryGetValue(key, out var text) ? null
            : PlainNumber.TryReal(text, out var value) && value is >= 0 and <= int.MaxValue ? value
            : throw CheckpointFault.StateNumber(path, key, text);
    }

    /// <summary>Micro-batches of one process in a step, on average over the processes; for plans.</summary>
    internal double MeanMicroBatches(int processes) => BatchesPerStep is { } all ? (double)all / processes : Accumulation;

    /// <summary>Sets the values of a state that only some trainings have.</summary>
    /// <param name="value">The number of a key; null where the state has none.</param>
    private protected virtual void Keep(Func<string, double?> value)
    {
    }

    /// <summary>Micro-batches of one process in a step, and how many numbers lie between two of them.</summary>
    /// <param name="processes">Number of processes.</param>
    /// <exception cref="TrainingException">The micro-batches of a step cannot be shared among the processes.</exception>
    internal (int Count, int Stride) MicroBatches(int processes) =>
        BatchesPerStep is not { } all ? (Accumulation, 1)
        : all % processes == 0 ? (all / processes, processes)
        : throw TrainingFault.BatchesNotOfProcesses(all, processes);

    /// <summary>The learning-rate schedule, with another peak or the configured one.</summary>
    internal LearningRate Rates(double? peak = null)
    {
        var top = peak ?? LearningRate;
        var final = FinalLearningRate is { } given && LearningRate > 0 ? given * top / LearningRate : top / 20;
        return new LearningRate(top, WarmUpSteps, Steps, Schedule, final);
    }

    /// <summary>Decay of the EMA after a step.</summary>
    internal double DecayAt(long step) => AverageHorizon > 0
        ? 1 - (1 / Math.Max(10, AverageHorizon * step))
        : Math.Min(AverageDecay, (1 + step) / (10.0 + step));

    /// <summary>Whether an EMA of the weights is kept.</summary>
    internal bool IsAveraged => AverageHorizon > 0 || AverageDecay > 0;

    /// <summary>Compute type of the network.</summary>
    internal ElementType ComputeType => Precision == TrainingPrecision.Bfloat16 ? ElementType.BFloat16 : ElementType.Float32;

    /// <summary>The error for the first invalid value; null if all values are valid.</summary>
    /// <param name="file">The configuration file.</param>
    protected virtual TrainingException? LoopFault(string file) =>
        Steps < 1 ? TrainingFault.TooSmall(file, "steps", Steps, 1)
        : Workers < 1 ? TrainingFault.TooSmall(file, "workers", Workers, 1)
        : Threads is { } threads && threads < 1 ? TrainingFault.TooSmall(file, "threads", threads, 1)
        : Accumulation < 1 ? TrainingFault.TooSmall(file, "accumulation", Accumulation, 1)
        : BatchesPerStep is { } batches && batches < 1 ? TrainingFault.TooSmall(file, "batches_per_step", batches, 1)
        : BatchesPerStep is not null && Accumulation != 1 ? TrainingFault.BatchesCountedTwice(file)
        : !(LearningRate >= 0) ? TrainingFault.TooSmall(file, "learning_rate", LearningRate, 0)
        : FinalLearningRate is { } final && final < 0 ? TrainingFault.TooSmall(file, "final_learning_rate", final, 0)
        : WarmUpSteps < 0 ? TrainingFault.TooSmall(file, "warm_up_steps", WarmUpSteps, 0)
        : Beta1 is not (>= 0 and < 1) ? TrainingFault.NotBelowOne(file, "beta1", Beta1)
        : Beta2 is not (>= 0 and < 1) ? TrainingFault.NotBelowOne(file, "beta2", Beta2)
        : !(WeightDecay >= 0) ? TrainingFault.TooSmall(file, "weight_decay", WeightDecay, 0)
        : !(ClipNorm >= 0) ? TrainingFault.TooSmall(file, "clip_norm", ClipNorm, 0)
        : CheckpointRatio is not (>= 0 and <= 1) ? TrainingFault.NoShare(file, "checkpoint_ratio", CheckpointRatio)
        : AverageDecay is not (>= 0 and < 1) ? TrainingFault.NotBelowOne(file, "average_decay", AverageDecay)
        : AverageHorizon is not (>= 0 and <= 1) ? TrainingFault.NoShare(file, "average_horizon", AverageHorizon)
        : SpikeFactor != 0 && !(SpikeFactor > 1) ? TrainingFault.NotAbove(file, "spike_factor", SpikeFactor, 1)
        : CheckpointEvery < 1 ? TrainingFault.TooSmall(file, "checkpoint_every", CheckpointEvery, 1)
        : KeepLast < 1 ? TrainingFault.TooSmall(file, "keep_last", KeepLast, 1)
        : KeepEvery < 0 ? TrainingFault.TooSmall(file, "keep_every", KeepEvery, 0)
        : SampleEvery < 0 ? TrainingFault.TooSmall(file, "sample_every", SampleEvery, 0)
        : LogEvery < 1 ? TrainingFault.TooSmall(file, "log_every", LogEvery, 1)
        : null;
}

/// <summary>The configuration of a run that goes on.</summary>
internal static class GoingOnConfig
{
    /// <summary>The configuration with the values of the run where it gives none, so that another number of steps or another version of the program does not change them.</summary>
    /// <param name="config">The configuration; unchanged.</param>
    /// <param name="run">Folder of the run; before its first state the defaults apply.</param>
    /// <exception cref="TrainingException">The state is damaged.</exception>
    /// <exception cref="CheckpointException">A value of the state is malformed.</exception>
    public static T GoingOn<T>(this T config, RunFolder run)
        where T : LoopConfig
    {
        if (run.LatestState is not { } path)
            return config;
        var kept = (T)(config with { });
        kept.Keep(path);
        return kept;
    }
}

/// <summary>Names of precisions: those of PyTorch and those of the command line.</summary>
internal sealed class TrainingPrecisionConverter() : NamedEnumConverter<TrainingPrecision>(
[
    ("bfloat16", TrainingPrecision.Bfloat16), ("bf16", TrainingPrecision.Bfloat16), ("float32", TrainingPrecision.Float32), ("fp32", TrainingPrecision.Float32),
]);

/// <summary>What the processes of a group divide among them.</summary>
public enum SharedState
{
    /// <summary>Nothing: each process holds everything.</summary>
    None,

    /// <summary>Moments, EMA, and float32 weights behind those of a bfloat16 computation.</summary>
    Optimizer,

    /// <summary>The same, and gradients once they are added up.</summary>
    Gradients,
}

/// <summary>How an optimizer holds its moments.</summary>
public enum MomentForm
{
    /// <summary>As float32.</summary>
    Float32,

    /// <summary>As 8-bit codes, relative to the largest of each 256 neighbours.</summary>
    EightBit,
}

/// <summary>Compute type of a network during training; weights, gradients and EMA are always float32.</summary>
public enum TrainingPrecision
{
    /// <summary>float32.</summary>
    Float32,

    /// <summary>bfloat16: half the memory for activations, and at least twice as fast on hardware that supports it.</summary>
    Bfloat16,
}

/// <summary>Values that a configuration writes as one of several names.</summary>
internal interface INamedValues
{
    /// <summary>All names, synonyms included.</summary>
    IEnumerable<string> Names { get; }
}

/// <summary>Reads an enumeration by the names that configurations use; the error for an unknown name lists all names.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
/// <param name="names">All names, compared without case; the first name of a value is the one to write.</param>
internal abstract class NamedEnumConverter<T>(IReadOnlyList<(string Name, T Value)> names) : JsonConverter<T>, INamedValues
    where T : struct, Enum
{
    /// <inheritdoc/>
    public IEnumerable<string> Names => names.Select(name => name.Name);

    /// <inheritdoc/>
    public override T Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        var text = reader.TokenType == JsonTokenType.String ? reader.GetString() : null;
        foreach (var (name, value) in names)
        {
            if (name.Equals(text, StringComparison.OrdinalIgnoreCase))
                return value;
        }

        throw new JsonException(TrainingFault.OneOf(names.DistinctBy(name => name.Value).Select(name => name.Name)));
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, T value, JsonSerializerOptions options)
    {
        foreach (var (name, known) in names)
        {
            if (EqualityComparer<T>.Default.Equals(known, value))
            {
                writer.WriteStringValue(name);
                return;
            }
        }

        throw new JsonException($"{value} has no name");
    }
}

/// <summary>Names in snake case, such as <c>linear_second_half</c>.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
internal sealed class SnakeCaseEnumConverter<T>() : NamedEnumConverter<T>([.. Enum.GetValues<T>().Select(value => (JsonNamingPolicy.SnakeCaseLower.ConvertName(value.ToString()), value))])
    where T : struct, Enum;

/// <summary>Names as declared, such as <c>AdamW</c>.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
internal sealed class PlainEnumConverter<T>() : NamedEnumConverter<T>([.. Enum.GetValues<T>().Select(value => (value.ToString(), value))])
    where T : struct, Enum;
