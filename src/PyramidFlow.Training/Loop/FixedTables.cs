using PyramidFlow.Torch;

namespace PyramidFlow.Training.Loop;

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
            kept.Add((key, TensorScope.Release(parameter.Value.Detach())));
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
