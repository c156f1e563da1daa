using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Hub.Checking;

/// <summary>Finds weights that are infinite or NaN. Reads all weights.</summary>
internal static class WeightFaults
{
    /// <summary>Folders of a model's weights.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="part">Part of the pipeline.</param>
    /// <param name="variant">Variant of the transformer; null means the first.</param>
    public static IReadOnlyList<ComponentFolder> Folders(CheckpointFolder folder, ModelPart part, string? variant = null) => part switch
    {
        ModelPart.Text => [.. folder.Family.TextComponents.Select(text => folder.Component(text.TextEncoder))],
        ModelPart.Transformer => [folder.Transformer(variant)],
        _ => [folder.Vae],
    };

    /// <summary>The error for the first weight in some folders that is not finite; null if all are finite.</summary>
    /// <param name="components">Folders with weights.</param>
    /// <param name="cancellationToken">Checked before each weight.</param>
    /// <exception cref="CheckpointException">Weights are missing, damaged or cut off.</exception>
    public static CheckpointException? Find(IEnumerable<ComponentFolder> components, CancellationToken cancellationToken = default)
    {
        foreach (var component in components)
        {
            using var source = component.OpenWeights();
            if (source.FindNonFinite(cancellationToken) is (var file, var key))
                return CheckpointFault.WeightNotFinite(file, key);
        }

        return null;
    }

    /// <summary>Explains a non-finite result by a non-finite weight in the checkpoint's files; null if they have none.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="e">The non-finite result.</param>
    /// <param name="variant">Variant of the transformer; null means the first.</param>
    /// <param name="cancellationToken">Checked before each weight.</param>
    /// <exception cref="OperationCanceledException">The search is cancelled.</exception>
    public static CheckpointException? Explain(CheckpointFolder folder, NonFiniteException e, string? variant = null, CancellationToken cancellationToken = default)
    {
        try
        {
            return Find(Folders(folder, e.Part, variant), cancellationToken) is { } fault
                ? CheckpointFault.Explaining(fault, new NonFiniteException(e.Part, e.Where, fault.Message).Message, e)
                : null;
        }
        catch (CheckpointException)
        {
            // The files are gone by now: the caller reports the exception it has.
            return null;
        }
    }

    /// <summary>Key of the first weight of models in memory that is not finite; null if all are finite.</summary>
    internal static string? Find(IEnumerable<Module> models, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var (key, parameter) in models.SelectMany(model => model.NamedParameters()))
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            if (parameter.Type.IsFloatingPoint() && !parameter.Value.AllFinite())
                return key;
        }

        return null;
    }
}
