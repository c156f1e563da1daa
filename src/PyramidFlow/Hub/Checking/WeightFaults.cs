using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Checking;

/// <summary>Finds numbers among weights that are infinite or no numbers. It reads every weight.</summary>
public static class WeightFaults
{
    /// <summary>The folders that a model's weights lie in.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="part">The model.</param>
    /// <param name="variant">Which transformer; null takes the first.</param>
    public static IReadOnlyList<ComponentFolder> Folders(CheckpointFolder folder, ModelPart part, string? variant = null) => part switch
    {
        ModelPart.Text => [.. folder.Family.TextComponents.Select(text => folder.Component(text.TextEncoder))],
        ModelPart.Transformer => [folder.Transformer(variant)],
        _ => [folder.Vae],
    };

    /// <summary>What is wrong with the weights of some folders, in the user's words; null where every number is finite.</summary>
    /// <param name="components">Folders with weights.</param>
    /// <param name="cancel">Checked before each weight.</param>
    /// <exception cref="CheckpointException">Weights are missing, damaged or cut off.</exception>
    public static string? Find(IEnumerable<ComponentFolder> components, CancellationToken cancel = default)
    {
        foreach (var component in components)
        {
            using var source = component.OpenWeights();
            if (source.FindNonFinite(cancel) is (var file, var key))
                return $"{file} holds a number that is not finite in {key}: download or convert it again, or take an earlier checkpoint of the training";
        }

        return null;
    }

    /// <summary>What an exception is about, where the files of a checkpoint tell; else null.</summary>
    /// <param name="folder">The checkpoint.</param>
    /// <param name="e">What went wrong.</param>
    /// <param name="variant">Which transformer; null takes the first.</param>
    /// <param name="cancel">Checked before each weight.</param>
    /// <exception cref="OperationCanceledException">The search is cancelled.</exception>
    public static CheckpointException? Explain(CheckpointFolder folder, NonFiniteException e, string? variant = null, CancellationToken cancel = default)
    {
        try
        {
            return Find(Folders(folder, e.Part, variant), cancel) is { } fault ? new CheckpointException(new NonFiniteException(e.Part, e.Where, fault).Message, e) : null;
        }
        catch (CheckpointException)
        {
            // The files went away meanwhile: what is known already is told.
            return null;
        }
    }

    /// <summary>The first weight of models in memory with such a number; null where there is none.</summary>
    internal static string? Find(IEnumerable<Module> models, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var (key, parameter) in models.SelectMany(model => model.NamedParameters()))
        {
            cancel.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            if (parameter.Type.IsFloatingPoint() && !parameter.Value.AllFinite())
                return key;
        }

        return null;
    }
}
