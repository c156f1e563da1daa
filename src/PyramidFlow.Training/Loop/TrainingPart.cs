using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>
/// Networks that are updated together: weights, optimizer, learning rate and exponential moving average (EMA). With
/// <see cref="LoopConfig.Shard"/>, this process updates its share of them and receives the other weights from the other processes.
/// </summary>
internal sealed class TrainingPart : IDisposable
{
    private readonly LoopConfig config;
    private readonly LearningRate rates;
    private readonly Muon? muon;
    private readonly ProcessGroup? group;
    private Tensor? collected;

    /// <summary>Takes over the trainable weights of the modules with their current values; the modules keep views of them.</summary>
    /// <param name="name">Name in states and metrics; empty if there is only one part.</param>
    /// <param name="config">Learning rates, decays, clipping and precision.</param>
    /// <param name="options">Where this part differs from the configuration; null if nowhere.</param>
    /// <param name="modules">Modules with the prefix of their keys; the caller keeps ownership.</param>
    public TrainingPart(string name, LoopConfig config, PartOptions? options, params IEnumerable<(string Prefix, Module Module)> modules)
    {
        options ??= new PartOptions();
        (Name, this.config, rates, group) = (name, config, config.Rates(options.LearningRate), options.Group);
        var division = group is null ? VectorDivision.None : new VectorDivision(group.WorldSize, config.Shard == SharedState.None ? null : group.Rank);
        Parameters = new FlatParameters(options.ComputeType ?? config.ComputeType, division, modules);
        Optimizer = new AdamW(Parameters, new AdamWOptions
        {
            Beta1 = config.Beta1, Beta2 = config.Beta2, WeightDecay = config.WeightDecay, EightBitMoments = config.Moments == MomentForm.EightBit, DecayMatricesOnly = options.DecayMatricesOnly,
        });
        muon = options.TakesMuon is { } hidden ? new Muon(Parameters, Optimizer, config.WeightDecay, hidden) : null;
        Average = options.IsAveraged && config.IsAveraged
            ? new ExponentialAverage(Parameters, config.AverageDevice is { } device ? TrainingDevice.Parse(device) : null)
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
    public IEnumerable<(string Key, Tensor Tensor)> Averaged => Parameters.Named(Published);

    /// <summary>Runs an action with the EMA as the weights.</summary>
    public T WithAverage<T>(Func<T> action) => Average is null ? action() : Parameters.With(Published, action);

    /// <summary>Runs an action with the EMA as the weights, in every process of the group; all of them call it.</summary>
    internal T WithAverageEverywhere<T>(Func<T> action)
    {
        if (Average is null || Sharers is null)
            return WithAverage(action);
        using var scope = new TensorScope();
        Tensor all;
        using (NoGrad.Begin())
        {
            var computed = Parameters.Computed;
            all = Tensor.Empty([Parameters.Count], computed.Type, computed.Device);
            Sharers.AllGather(Average.Values.To(computed.Device).To(computed.Type), all);
        }

        return Parameters.With(all, action);
    }

    /// <summary>The group whose processes each hold a share; null where this process holds everything.</summary>
    internal ProcessGroup? Sharers => Parameters.Division.Held is null ? null : group;

    /// <summary>Name of its gradient norm in metrics.</summary>
    internal string NormName => Name.Length == 0 ? "gradient_norm" : $"gradient_norm_{Name}";

    /// <summary>Name of its learning rate in metrics.</summary>
    internal string RateName => Name.Length == 0 ? "learning_rate" : $"learning_rate_{Name}";

    /// <summary>The learning rate of a step.</summary>
    internal double RateAt(long step) => rates.At(step);

    /// <summary>Adds up the gradients over all processes; with shares, each process receives the sum of its own.</summary>
    internal void Reduce()
    {
        if (group is null)
            return;
        if (Sharers is null)
        {
            group.AllReduce(Parameters.Gradients);
            return;
        }

        if (config.Shard == SharedState.Optimizer)
        {
            group.ReduceScatter(Parameters.Gradients, Parameters.HeldGradients);
            return;
        }

        var held = TensorScope.Release(Tensor.Empty([Parameters.Held.Length], ElementType.Float32, Parameters.Computed.Device));
        group.ReduceScatter(Parameters.Gradients, held);
        Parameters.KeepHeldGradients(held);
    }

    /// <summary>Norms of the gradients of parts over all processes, with the same bits whether a process holds a share or everything.</summary>
    internal static double[] Norms(IReadOnlyList<TrainingPart> parts)
    {
        double[] squares = [.. parts.Select(part => part.Parameters.SquaredNorm())];
        parts[0].Sharers?.AllReduce<double>(squares);
        return [.. squares.Select(Math.Sqrt)];
    }

    /// <summary>Scales the gradients down to the configured norm.</summary>
    /// <param name="norm">Their norm.</param>
    internal void Clip(double norm) => Parameters.ClipGradients(config.ClipNorm > 0 ? config.ClipNorm : double.PositiveInfinity, norm);

    /// <summary>Applies one update, then sets the gradients to zero.</summary>
    internal void Update(long step)
    {
        if (muon is null)
            Optimizer.Step(RateAt(step));
        else
            muon.Step(RateAt(step));
        Parameters.ZeroGradients();
        Average?.Update(Parameters, config.DecayAt(step));
        ShareWeights();
    }

    /// <summary>Gives all processes the same weights: those of rank zero, or with shares, each those of its own.</summary>
    internal void Synchronize()
    {
        if (Sharers is not null)
        {
            ShareWeights();
            return;
        }

        group?.Broadcast(Parameters.Values);
        Parameters.Refresh();
    }

    /// <summary>Brings together on rank zero what <see cref="Averaged"/> gives there, until <see cref="Release"/>. All processes call it.</summary>
    internal void Collect()
    {
        if (Sharers is null || IsPublishedWhole)
            return;
        using var noGrad = NoGrad.Begin();
        var all = Sharers.Rank == 0 ? TensorScope.Release(Tensor.Empty([Parameters.Count], ElementType.Float32)) : null;
        collected = all;
        Sharers.Collect(Average?.Values ?? Parameters.Values, Parameters.Count, (start, piece) => all!.Narrow(0, start, piece.ElementCount).CopyFrom(piece));
    }

    /// <summary>Frees what <see cref="Collect"/> brought together.</summary>
    internal void Release()
    {
        collected?.Dispose();
        collected = null;
    }

    // Without an EMA the published weights are those that every process computes with.
    private bool IsPublishedWhole => Average is null && Parameters.Computed.Type == ElementType.Float32;

    private Tensor Published => collected ?? (Sharers is null ? Average?.Values ?? Parameters.Values
        : IsPublishedWhole ? Parameters.Computed : throw new InvalidOperationException("the shares are not collected"));

    private void ShareWeights() => Sharers?.AllGather(Parameters.HeldOf(Parameters.Computed), Parameters.Computed);

    /// <inheritdoc/>
    public void Dispose()
    {
        Release();
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

    /// <summary>Process group of the training; null trains in this process alone.</summary>
    public ProcessGroup? Group { get; init; }

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
