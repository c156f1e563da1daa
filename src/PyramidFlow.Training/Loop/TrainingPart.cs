using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>Networks that step together: their weights, optimiser, learning rate and average.</summary>
public sealed class TrainingPart : IDisposable
{
    private readonly LoopConfig config;
    private readonly LearningRate rates;
    private readonly Muon? muon;

    /// <summary>Takes the trainable weights of modules, as they are now, out of which the modules keep views.</summary>
    /// <param name="name">Name in states and metrics; empty where there is one part only.</param>
    /// <param name="config">Rates, decays, clipping and precision.</param>
    /// <param name="options">Where this part differs, or null.</param>
    /// <param name="modules">Modules with the prefix of their keys; they stay the caller's.</param>
    public TrainingPart(string name, LoopConfig config, PartOptions? options, params IEnumerable<(string Prefix, Module Module)> modules)
    {
        options ??= new PartOptions();
        (Name, this.config, rates) = (name, config, config.Rates(options.LearningRate));
        Parameters = new FlatParameters(options.ComputeType ?? config.ComputeType, modules);
        Optimizer = new AdamW(Parameters, new AdamWOptions
        {
            Beta1 = config.Beta1, Beta2 = config.Beta2, WeightDecay = config.WeightDecay, DecayMatricesOnly = options.DecayMatricesOnly,
        });
        muon = options.TakesMuon is { } hidden ? new Muon(Parameters, Optimizer, config.WeightDecay, hidden) : null;
        Average = options.IsAveraged && config.IsAveraged
            ? new ExponentialAverage(Parameters, config.AverageDevice is { } device ? Device.Parse(device) : null)
            : null;
    }

    /// <summary>Name in states and metrics.</summary>
    public string Name { get; }

    /// <summary>Weights and gradients.</summary>
    public FlatParameters Parameters { get; }

    /// <summary>Moments of the gradients.</summary>
    public AdamW Optimizer { get; }

    /// <summary>Running average of the weights, or null where none is kept.</summary>
    public ExponentialAverage? Average { get; }

    /// <summary>The weights to use: the average, or where none is kept, the weights themselves; under their keys, float32.</summary>
    public IEnumerable<(string Key, Tensor Tensor)> Averaged => Parameters.Named(Average?.Values ?? Parameters.Values);

    /// <summary>Computes with the averaged weights while the action runs.</summary>
    public T WithAverage<T>(Func<T> action)
    {
        Average?.Swap(Parameters);
        try
        {
            return action();
        }
        finally
        {
            Average?.Swap(Parameters);
        }
    }

    /// <summary>Name of its gradient norm in metrics.</summary>
    internal string NormName => Name.Length == 0 ? "gradient_norm" : $"gradient_norm_{Name}";

    /// <summary>Name of its learning rate in metrics.</summary>
    internal string RateName => Name.Length == 0 ? "learning_rate" : $"learning_rate_{Name}";

    /// <summary>The learning rate of a step.</summary>
    internal double RateAt(long step) => rates.At(step);

    /// <summary>Clips the gradients.</summary>
    /// <returns>Their norm before.</returns>
    internal double Clip() => Parameters.ClipGradients(config.ClipNorm > 0 ? config.ClipNorm : double.PositiveInfinity);

    /// <summary>One update from the gradients, which are zero afterwards.</summary>
    internal void Update(long step)
    {
        if (muon is null)
            Optimizer.Step(RateAt(step));
        else
            muon.Step(RateAt(step));
        Parameters.ZeroGradients();
        Average?.Update(Parameters, config.DecayAt(step));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Parameters.Dispose();
        Optimizer.Dispose();
        Average?.Dispose();
    }
}

/// <summary>Where a part of a training differs from what its configuration says about all.</summary>
public sealed record PartOptions
{
    /// <summary>Peak learning rate; null is the configured one.</summary>
    public double? LearningRate { get; init; }

    /// <summary>Whether the hidden matrix of a key steps by Muon; null is AdamW for all weights.</summary>
    public Func<string, bool>? TakesMuon { get; init; }

    /// <summary>Element type the modules compute in; null is the configured one.</summary>
    public ElementType? ComputeType { get; init; }

    /// <summary>Whether a running average of the weights is kept, if the configuration wants one.</summary>
    public bool IsAveraged { get; init; } = true;

    /// <summary>Whether only weights of two or more dimensions decay.</summary>
    public bool DecayMatricesOnly { get; init; }
}

/// <summary>Values of a network that no training changes, such as position tables: kept as they are for checkpoints, while the network computes with them in its own element type.</summary>
internal sealed class FixedTables : IDisposable
{
    private readonly List<(string Key, Tensor Tensor)> kept = [];

    /// <summary>Keeps a network's tables and converts its own.</summary>
    /// <param name="model">The network.</param>
    /// <param name="compute">Element type it computes in.</param>
    internal FixedTables(Module model, ElementType compute)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        foreach (var (key, parameter) in model.NamedParameters().Where(p => !p.Parameter.Trainable))
        {
            kept.Add((key, TensorScope.Detach(parameter.Value.Detached())));
            parameter.Value = parameter.Value.To(compute);
        }
    }

    /// <summary>The tables under their keys.</summary>
    internal IReadOnlyList<(string Key, Tensor Tensor)> Named => kept;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (_, tensor) in kept)
            tensor.Dispose();
    }
}
