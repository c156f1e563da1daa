using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Conversion;

/// <summary>
/// Which weights of a model become int8: the matrices of the blocks of a diffusion transformer or of T5, but for those that
/// would lose more than a little. What is small (embeddings, norms, the last layer) and CLIP and VAE keep their numbers.
/// </summary>
internal sealed class Int8Layers
{
    /// <summary>What is put behind a weight's key for its factors.</summary>
    internal const string ScaleSuffix = "_scale";

    private const double MostError = 0.02;
    private const long LeastSide = 32;

    private readonly Dictionary<string, double> errors = [];
    private readonly int candidates;

    private Int8Layers(StateSource source, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var tensor in source.Declarations().Where(tensor => IsCandidate(tensor.Key, tensor.Shape, tensor.Type)))
        {
            cancel.ThrowIfCancellationRequested();
            candidates++;
            using var scope = new TensorScope();
            var weight = source.Read(tensor.Key);
            if (Int8Weight.Quantize(weight).Error(weight) is var error and <= MostError)
                errors[tensor.Key] = error;
            source.Drop(tensor.Key);
        }
    }

    /// <summary>Measures every candidate of a model.</summary>
    internal static Int8Layers Choose(StateSource source, CancellationToken cancel) => new(source, cancel);

    /// <summary>Whether a weight is rounded.</summary>
    internal bool Contains(string key) => errors.ContainsKey(key);

    /// <summary>A sentence about what was lost; null where nothing was rounded.</summary>
    /// <param name="name">What to call the model.</param>
    internal string? Report(string name)
    {
        if (candidates == 0)
            return null;
        if (errors.Count == 0)
            return $"{name}: none of {candidates} matrices as int8, for each would lose more than {MostError:P0}";
        var worst = errors.MaxBy(pair => pair.Value);
        return FormattableString.Invariant(
            $"{name}: {errors.Count} of {candidates} matrices as int8, relative error {100 * errors.Values.Average():F2}% on average and {100 * worst.Value:F2}% at most ({worst.Key})");
    }

    /// <summary>Whether a weight may be rounded, as far as its name and shape tell.</summary>
    internal static bool IsCandidate(string key, long[] shape, ElementType type) =>
        shape.Length == 2 && shape.All(side => side >= LeastSide) && type.IsFloatingPoint()
        && key.EndsWith(".weight", StringComparison.Ordinal)
        && (key.Contains("transformer_blocks.", StringComparison.Ordinal)
            || (key.StartsWith("encoder.block.", StringComparison.Ordinal) && !key.Contains("relative_attention_bias", StringComparison.Ordinal)));
}
