namespace PyramidFlow.Torch;

/// <summary>
/// The trainable weights of one or several modules in one float32 vector, and their gradients in another; the modules hold views.
/// An optimiser step, clipping and averaging are then a few long vector operations instead of hundreds of short ones.
/// </summary>
/// <remarks>
/// With another compute type, such as bfloat16, the modules see a copy in that type. Weights and gradients stay float32, and
/// backward accumulates every gradient there.
/// </remarks>
public sealed class FlatParameters : IDisposable
{
    private readonly List<(string Key, Parameter Parameter, long Start)> entries = [];
    private readonly Tensor computed;

    /// <summary>Moves the trainable, initialised weights of modules into one vector.</summary>
    /// <param name="modules">Modules with the prefix of their keys; all weights are on one device.</param>
    public FlatParameters(params IEnumerable<(string Prefix, Module Module)> modules)
        : this(null, ElementType.Float32, modules)
    {
    }

    /// <summary>Like the other constructor, with a compute type for the modules.</summary>
    /// <param name="compute">Element type that the modules see.</param>
    /// <param name="modules">Modules with the prefix of their keys; all weights are on one device.</param>
    public FlatParameters(ElementType compute, params IEnumerable<(string Prefix, Module Module)> modules)
        : this(null, compute, modules)
    {
    }

    // With an original, the weights are shared with it; only the gradients are separate.
    private FlatParameters(FlatParameters? original, ElementType compute, IEnumerable<(string Prefix, Module Module)> modules)
    {
        long count = 0;
        foreach (var (prefix, module) in modules)
        {
            foreach (var (key, parameter) in module.NamedParameters(prefix))
            {
                if (!parameter.Trainable)
                    continue;
                entries.Add((key, parameter, count));
                count += parameter.ElementCount;
            }
        }

        if (count == 0)
            throw new ArgumentException("there is nothing to train: every weight is frozen");
        using var noGrad = NoGrad.Begin();
        Values = TensorScope.Release(original?.Values.Detach()
            ?? Tensor.Empty([count], ElementType.Float32, entries[0].Parameter.Value.Device));
        Gradients = TensorScope.Release(Values.ZerosLike());
        if (original is null)
            Gather();
        computed = compute == ElementType.Float32 ? Values : TensorScope.Release(original?.computed.Detach() ?? Values.To(compute));
        foreach (var (_, parameter, start) in entries)
        {
            using var scope = new TensorScope();
            parameter.Value = Part(computed, parameter, start).Detach();
            parameter.Value.RequiresGrad = true;
            parameter.Value.Grad = Part(Gradients, parameter, start);
        }
    }

    /// <summary>
    /// Lets a replica of the same modules share these weights, with its own gradients, so that another thread can compute part of
    /// a batch. Sum up the gradients with <see cref="Collect"/> before the step.
    /// </summary>
    /// <param name="modules">As for the constructor; they need not be initialised.</param>
    public FlatParameters Share(params IEnumerable<(string Prefix, Module Module)> modules) => new(this, computed.Type, modules);

    /// <summary>All weights, float32 [n]; call <see cref="Refresh"/> after changing them.</summary>
    public Tensor Values { get; }

    /// <summary>All gradients, float32 [n]; backward accumulates into them.</summary>
    public Tensor Gradients { get; }

    /// <summary>Updates the copy of the weights that the modules see, if they compute in another element type.</summary>
    public void Refresh()
    {
        if (ReferenceEquals(computed, Values))
            return;
        using var noGrad = NoGrad.Begin();
        computed.CopyFrom(Values);
    }

    /// <summary>Sets all gradients to zero.</summary>
    public void ZeroGradients()
    {
        using var noGrad = NoGrad.Begin();
        Gradients.Zero();
    }

    /// <summary>Scales the gradients down so that their norm is at most <paramref name="limit"/>.</summary>
    /// <returns>The norm before scaling.</returns>
    public double ClipGradients(double limit)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var norm = Gradients.Norm().Item();
        if (norm > limit)
            Gradients.MulInPlace(limit / (norm + 1e-6));
        return norm;
    }

    /// <summary>Splits a vector of this layout into named tensors, for checkpoints and averages.</summary>
    public IEnumerable<(string Key, Tensor Tensor)> Named(Tensor vector) =>
        entries.Select(e => (e.Key, Part(vector, e.Parameter, e.Start)));

    /// <summary>Adds the gradients of replicas to these, always in the same order, and zeroes theirs.</summary>
    public void Collect(IEnumerable<FlatParameters> others)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var other in others)
        {
            Gradients.AddInPlace(other.Gradients);
            other.Gradients.Zero();
        }
    }

    /// <summary>Layout of the vector: key, shape and first element of each weight.</summary>
    public IEnumerable<(string Key, long[] Shape, long Start)> Layout() => entries.Select(e => (e.Key, e.Parameter.Shape, e.Start));

    /// <inheritdoc/>
    public void Dispose()
    {
        Values.Dispose();
        computed.Dispose();
        Gradients.Dispose();
    }

    private void Gather()
    {
        foreach (var (_, parameter, start) in entries)
        {
            using var scope = new TensorScope();
            Part(Values, parameter, start).CopyFrom(parameter.Value);
        }
    }

    private static Tensor Part(Tensor vector, Parameter parameter, long start)
    {
        return vector.Narrow(0, start, parameter.ElementCount).View(parameter.Shape);
    }
}

/// <summary>Exponential moving average (EMA) of a weight vector, float32.</summary>
public sealed class ExponentialAverage : IDisposable
{
    /// <summary>Starts from the current weights.</summary>
    /// <param name="parameters">The weights to average.</param>
    /// <param name="device">Device of the average; null is that of the weights.</param>
    public ExponentialAverage(FlatParameters parameters, Device? device = null)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Values = TensorScope.Release(parameters.Values.To(device ?? parameters.Values.Device).Clone());
    }

    /// <summary>The average, float32 [n].</summary>
    public Tensor Values { get; }

    /// <summary>Moves the average towards the weights.</summary>
    /// <param name="parameters">The weights.</param>
    /// <param name="decay">Weight of the previous average, in [0, 1).</param>
    public void Update(FlatParameters parameters, double decay)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Values.LerpInPlace(parameters.Values.To(Values.Device), 1 - decay);
    }

    /// <summary>
    /// Swaps weights and average: evaluate or save the averaged model between two calls.
    /// </summary>
    public void Swap(FlatParameters parameters)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var held = parameters.Values.Clone();
        parameters.Values.CopyFrom(Values);
        Values.CopyFrom(held);
        parameters.Refresh();
    }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}
