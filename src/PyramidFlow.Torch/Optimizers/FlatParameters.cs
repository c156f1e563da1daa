namespace PyramidFlow.Torch;

/// <summary>
/// The trainable weights of one or several modules in one float32 vector, and their gradients in another; the modules hold views.
/// An optimiser step, clipping and averaging are then a few long vector operations instead of hundreds of short ones.
/// </summary>
/// <remarks>
/// With another compute type, such as bfloat16, the modules see a copy in that type. Weights and gradients stay float32, and
/// backward accumulates every gradient there. Of a vector that is divided among processes, each one updates its share: the modules see all
/// weights, in the compute type, and only the share is also there in float32.
/// </remarks>
public sealed class FlatParameters : IDisposable
{
    private readonly List<(string Key, Parameter Parameter, long Start)> entries = [];
    private Tensor? gradients;
    private Tensor? heldGradients;

    /// <summary>Moves the trainable, initialised weights of modules into one vector.</summary>
    /// <param name="modules">Modules with the prefix of their keys; all weights are on one device.</param>
    public FlatParameters(params IEnumerable<(string Prefix, Module Module)> modules)
        : this(null, ElementType.Float32, VectorDivision.None, modules)
    {
    }

    /// <summary>Like the other constructor, with a compute type for the modules.</summary>
    /// <param name="compute">Element type that the modules see.</param>
    /// <param name="modules">Modules with the prefix of their keys; all weights are on one device.</param>
    public FlatParameters(ElementType compute, params IEnumerable<(string Prefix, Module Module)> modules)
        : this(null, compute, VectorDivision.None, modules)
    {
    }

    /// <summary>Like the other constructors, for one process of several.</summary>
    /// <param name="compute">Element type that the modules see.</param>
    /// <param name="division">What this process updates.</param>
    /// <param name="modules">Modules with the prefix of their keys; all weights are on one device.</param>
    public FlatParameters(ElementType compute, VectorDivision division, params IEnumerable<(string Prefix, Module Module)> modules)
        : this(null, compute, division, modules)
    {
    }

    // With an original, the weights are shared with it; only the gradients are separate.
    private FlatParameters(FlatParameters? original, ElementType compute, VectorDivision division, IEnumerable<(string Prefix, Module Module)> modules)
    {
        Division = division;
        foreach (var (prefix, module) in modules)
        {
            foreach (var (key, parameter) in module.NamedParameters(prefix))
            {
                if (!parameter.Trainable)
                    continue;
                entries.Add((key, parameter, Count));
                Count += parameter.ElementCount;
            }
        }

        if (Count == 0)
            throw new ArgumentException("there is nothing to train: every weight is frozen");
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var device = (original?.Computed ?? entries[0].Parameter.Value).Device;
        Computed = TensorScope.Release(original?.Computed.Detach() ?? Tensor.Empty([Count], compute, device));
        Values = TensorScope.Release(original?.Values.Detach()
            ?? (compute == ElementType.Float32 ? HeldOf(Computed) : Tensor.Empty([Held.Length], ElementType.Float32, device)));
        if (original is null)
            Gather();
        foreach (var (_, parameter, start) in entries)
        {
            using var inner = new TensorScope();
            parameter.Value = Part(Computed, parameter, start).Detach();
            parameter.Value.RequiresGrad = true;
        }

        MakeGradients();
    }

    /// <summary>
    /// Lets a replica of the same modules share these weights, with its own gradients, so that another thread can compute part of
    /// a batch. Sum up the gradients with <see cref="Collect"/> before the step.
    /// </summary>
    /// <param name="modules">As for the constructor; they need not be initialised.</param>
    public FlatParameters Share(params IEnumerable<(string Prefix, Module Module)> modules) => new(this, Computed.Type, Division, modules);

    /// <summary>Number of all weights.</summary>
    public long Count { get; }

    /// <summary>How the weights are divided among processes.</summary>
    public VectorDivision Division { get; }

    /// <summary>First element and length of what this process updates.</summary>
    public (long Start, long Length) Held => Division.HeldOf(Count);

    /// <summary>The weights that this process updates, float32: all of them unless they are divided. Call <see cref="Refresh"/> after changing them.</summary>
    public Tensor Values { get; }

    /// <summary>All weights as the modules see them, [n]; in float32, <see cref="Values"/> is a part of it.</summary>
    public Tensor Computed { get; }

    /// <summary>All gradients, float32 [n]; backward accumulates into them.</summary>
    public Tensor Gradients => gradients ?? throw new InvalidOperationException("the gradients are freed; MakeGradients comes before backward");

    /// <summary>Gradients of the weights that this process updates, float32.</summary>
    public Tensor HeldGradients => heldGradients!;

    /// <summary>Makes the gradients again, zeros, after <see cref="KeepHeldGradients"/>; otherwise does nothing.</summary>
    public void MakeGradients()
    {
        if (gradients is not null)
            return;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        heldGradients?.Dispose();
        gradients = TensorScope.Release(Tensor.Zeros([Count], ElementType.Float32, Computed.Device));
        heldGradients = TensorScope.Release(HeldOf(gradients));
        foreach (var (_, parameter, start) in entries)
        {
            using var inner = new TensorScope();
            parameter.Value.Grad = Part(gradients, parameter, start);
        }
    }

    /// <summary>Frees all gradients but those of the weights that this process updates.</summary>
    /// <param name="held">Gradients of these weights, which this object owns from now on.</param>
    public void KeepHeldGradients(Tensor held)
    {
        foreach (var (_, parameter, _) in entries)
            parameter.Value.Grad = null;
        heldGradients?.Dispose();
        gradients?.Dispose();
        (gradients, heldGradients) = (null, TensorScope.Release(held));
    }

    /// <summary>Updates what the modules see of the weights that this process updates, if they compute in another element type.</summary>
    public void Refresh()
    {
        if (Computed.Type == ElementType.Float32)
            return;
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        HeldOf(Computed).CopyFrom(Values);
    }

    /// <summary>Replaces all weights.</summary>
    /// <param name="all">The weights, float32 [n].</param>
    public void Load(Tensor all)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        Computed.CopyFrom(all);
        Values.CopyFrom(HeldOf(all));
    }

    /// <summary>Runs an action with other weights in the modules, such as averaged ones.</summary>
    /// <param name="all">The weights, [n].</param>
    /// <param name="action">The action.</param>
    public T With<T>(Tensor all, Func<T> action)
    {
        var kept = TensorScope.Release(Computed.Clone());
        try
        {
            Show(all);
            return action();
        }
        finally
        {
            Show(kept);
            kept.Dispose();
        }

        void Show(Tensor weights)
        {
            using var noGrad = NoGrad.Begin();
            Computed.CopyFrom(weights);
        }
    }

    /// <summary>Sets all gradients to zero.</summary>
    public void ZeroGradients()
    {
        using var noGrad = NoGrad.Begin();
        (gradients ?? HeldGradients).Zero();
    }

    /// <summary>Scales the gradients down so that their norm is at most <paramref name="limit"/>.</summary>
    /// <returns>The norm before scaling.</returns>
    public double ClipGradients(double limit)
    {
        var norm = Math.Sqrt(SquaredNorm());
        ClipGradients(limit, norm);
        return norm;
    }

    /// <summary>Scales the gradients of the weights that this process updates down so that a norm is at most <paramref name="limit"/>.</summary>
    /// <param name="limit">Largest norm.</param>
    /// <param name="norm">Norm of the gradients of all processes.</param>
    public void ClipGradients(double limit, double norm)
    {
        using var noGrad = NoGrad.Begin();
        if (norm > limit)
            HeldGradients.MulInPlace(limit / (norm + 1e-6));
    }

    /// <summary>Sum of the squared gradients of the weights that this process updates: those of the shares, added in their order.</summary>
    public double SquaredNorm()
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var sum = 0.0;
        foreach (var (start, length) in Division.SharesOf(Count))
            sum += length == 0 ? 0 : Math.Pow(HeldGradients.Narrow(0, start, length).Norm().Item(), 2);
        return sum;
    }

    /// <summary>What this process updates of a vector of all weights: a view.</summary>
    public Tensor HeldOf(Tensor all) => all.Narrow(0, Held.Start, Held.Length);

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
        Computed.Dispose();
        gradients?.Dispose();
        heldGradients?.Dispose();
    }

    // Weight by weight, so that no second vector of all weights is needed where only a share of them stays in float32.
    private void Gather()
    {
        var (first, length) = Held;
        foreach (var (_, parameter, start) in entries)
        {
            using var scope = new TensorScope();
            Part(Computed, parameter, start).CopyFrom(parameter.Value);
            var (from, to) = (Math.Max(first, start), Math.Min(first + length, start + parameter.ElementCount));
            if (Computed.Type != ElementType.Float32 && from < to)
                Values.Narrow(0, from - first, to - from).CopyFrom(parameter.Value.Contiguous().View(parameter.ElementCount).Narrow(0, from - start, to - from));
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

    /// <summary>The average of the weights that this process updates, float32.</summary>
    public Tensor Values { get; }

    /// <summary>Moves the average towards the weights.</summary>
    /// <param name="parameters">The weights.</param>
    /// <param name="decay">Weight of the previous average, in [0, 1).</param>
    public void Update(FlatParameters parameters, double decay)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var weights = parameters.Values.To(Values.Device);
        foreach (var (start, length) in parameters.Division.SharesOf(parameters.Count))
            Values.Narrow(0, start, length).LerpInPlace(weights.Narrow(0, start, length), 1 - decay);
    }

    /// <inheritdoc/>
    public void Dispose() => Values.Dispose();
}
