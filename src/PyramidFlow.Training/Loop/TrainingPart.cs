using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

/// <summary>Networks that are updated together: weights, optimizer, learning rate and exponential moving average (EMA).</summary>
internal sealed class TrainingPart : IDisposable
{
    private readonly LoopConfig config;
    private readonly LearningRate rates;
    private readonly Muon? muon;

    /// <summary>Takes over the trainable weights of the modules with their current values; the modules keep views of them.</summary>
    /// <param name="name">Name in states and metrics; empty if there is only one part.</param>
    /// <param name="config">Learning rates, decays, clipping and precision.</param>
    /// <param name="options">Where this part differs from the configuration; null if nowhere.</param>
    /// <param name="modules">Modules with the prefix of their keys; the caller keeps ownership.</param>
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

    /// <summary>The AdamW optimizer and its moments.</summary>
    public AdamW Optimizer { get; }

    /// <summary>EMA of the weights; null if none is kept.</summary>
    public ExponentialAverage? Average { get; }

    /// <summary>The weights to publish under their keys, float32: the EMA, or the weights themselves if there is none.</summary>
    public IEnumerable<(string Key, Tensor Tensor)> Averaged => Parameters.Named(Average?.Values ?? Parameters.Values);

    /// <summary>Runs an action with the EMA as the weights.</summary>
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

    /// <summary>Clips the gradients by their norm.</summary>
    /// <returns>The norm before clipping.</returns>
    internal double Clip() => Parameters.ClipGradients(config.ClipNorm > 0 ? config.ClipNorm : double.PositiveInfinity);

    /// <summary>Applies one update, then sets the gradients to zero.</summary>
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

/// <summary>Where a part differs from the configuration of the training.</summary>
internal sealed record PartOptions
{
    /// <summary>Peak learning rate; null uses the configured one.</summary>
    public double? LearningRate { get; init; }

    /// <summary>Selects the keys of hidden matrices that Muon updates; null uses AdamW for all weights.</summary>
    public Func<string, bool>? TakesMuon { get; init; }

    /// <summary>Element type of the computation; null uses the configured one.</summary>
    public ElementType? ComputeType { get; init; }

    /// <summary>Whether to keep an EMA, if the configuration asks for one.</summary>
    public bool IsAveraged { get; init; } = true;

    /// <summary>Whether weight decay applies to weights of two or more dimensions only.</summary>
    public bool DecayMatricesOnly { get; init; }
}

/// <summary>
/// Values of a network that training does not change, such as position tables. They are kept in their original type for
/// checkpoints, while the network computes with them in its compute type.
/// </summary>
internal sealed class FixedTables : IDisposable
{
    private readonly List<(string Key, Tensor Tensor)> kept = [];

    /// <summary>Keeps the tables of a network and converts the network's copies.</summary>
    /// <param name="model">The network.</param>
    /// <param name="compute">Compute type of the network.</param>
    internal FixedTables(Module model, ElementType compute)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        foreach (var (key, parameter) in model.NamedParameters().Where(p => !p.Parameter.Trainable))
        {
            kept.Add((key, TensorScope.Release(parameter.Value.Detach())));
            parameter.Value = parameter.Value.To(compute);
        }
    }

    /// <summary>The tables and their keys.</summary>
    internal IReadOnlyList<(string Key, Tensor Tensor)> Named => kept;

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var (_, tensor) in kept)
            tensor.Dispose();
    }
}
