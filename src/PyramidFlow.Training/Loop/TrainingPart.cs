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
