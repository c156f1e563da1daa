using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Conversion;

/// <summary>One model of a conversion.</summary>
/// <param name="Folder">Folder in the target; empty for its root.</param>
/// <param name="Source">Weights, with the keys of the released layout.</param>
/// <param name="ConfigFile">Path of its <c>config.json</c>, or null.</param>
internal sealed record ConversionPart(string Folder, StateSource Source, string? ConfigFile)
{
    // A tied copy of a weight, and a table in old CLIP checkpoints; the released checkpoints have neither.
    private static readonly string[] Superfluous = ["encoder.embed_tokens.weight", "text_model.embeddings.position_ids"];

    private const double LargestHalf = 65504;

    private Int8Layers? quantized;

    /// <summary>Chooses the weights to quantize and reports the error.</summary>
    internal void ChooseInt8(ConversionOptions options, CancellationToken cancellationToken)
    {
        quantized = Int8Layers.Choose(Source, cancellationToken);
        if (quantized.Report(Folder.Length > 0 ? Folder : Source.Name) is { } report)
            options.Report?.Invoke(report);
    }

    /// <summary>Declarations of the tensors to write.</summary>
    internal IReadOnlyList<TensorDeclaration> Declare(ElementType? type)
    {
        var shared = Source.Keys.Contains("shared.weight");
        return [.. Source.Declarations()
            .Where(tensor => !Superfluous.Contains(tensor.Key) || (tensor.Key == Superfluous[0] && !shared))
            .SelectMany(tensor => quantized?.Contains(tensor.Key) == true
                ? [tensor with { Type = ElementType.Int8 }, new(tensor.Key + Int8Layers.ScaleSuffix, ElementType.Float32, [tensor.Shape[0]])]
                : (TensorDeclaration[])[type is { } wanted && tensor.Type.IsFloatingPoint() ? tensor with { Type = wanted } : tensor])];
    }

    /// <summary>Writes config and weights, one tensor after another.</summary>
    /// <param name="root">Folder of the target.</param>
    /// <param name="options">Options.</param>
    /// <param name="written">Called with the number of bytes written.</param>
    /// <param name="cancellationToken">Checked before each tensor.</param>
    /// <exception cref="CheckpointException">A value is too large for float16.</exception>
    internal void Write(string root, ConversionOptions options, Action<long> written, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        var folder = Path.Combine(root, Folder);
        Directory.CreateDirectory(folder);
        if (ConfigFile is not null)
            File.Copy(ConfigFile, Path.Combine(folder, ComponentFolder.ConfigName));
        ShardedWriter.Write(folder, Stem(), Declare(options.Type), options.ShardBytes, (file, entry) =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var tensor = Read(entry.Name);
            if (entry.Type == ElementType.Float16 && tensor.Type != ElementType.Float16)
                CheckRange(entry.Name, tensor);
            SafetensorsWriter.WriteData(file, entry, tensor);
            written(entry.ByteLength);
        });
    }

    private Tensor Read(string key)
    {
        if (quantized is null)
            return Source.Read(key);
        if (quantized.Contains(key))
            return Int8Weight.Quantize(Source.Read(key)).Codes;
        var scaled = key.EndsWith(Int8Layers.ScaleSuffix, StringComparison.Ordinal) ? key[..^Int8Layers.ScaleSuffix.Length] : key;
        return scaled != key && quantized.Contains(scaled) ? Int8Weight.Quantize(Source.Read(scaled)).Scales : Source.Read(key);
    }

    // Text encoders are in the format of transformers, all other models in that of diffusers.
    private string Stem() => Source.Keys.Any(key => key.StartsWith("text_model.", StringComparison.Ordinal) || key == "shared.weight")
        ? "model"
        : "diffusion_pytorch_model";

    private void CheckRange(string key, Tensor tensor)
    {
        if (tensor.ElementCount == 0)
            return;
        var largest = Math.Max(tensor.Max().Item(), -tensor.Min().Item());
        if (largest > LargestHalf)
            throw CheckpointFault.TooLargeForHalf(Source.Name, key, largest);
    }
}

/// <summary>
/// The weights of a model that are quantized to int8: the matrices in the blocks of a diffusion transformer or of T5 whose relative
/// error stays small. Embeddings, norms, last layers, CLIP and the VAE keep their type.
/// </summary>
internal sealed class Int8Layers
{
    /// <summary>Suffix of the key of a weight's scale factors.</summary>
    internal const string ScaleSuffix = "_scale";

    private const double MaxError = 0.02;
    private const long MinSide = 32;

    private readonly Dictionary<string, double> errors = [];
    private readonly int candidates;

    private Int8Layers(StateSource source, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        foreach (var tensor in source.Declarations().Where(tensor => IsCandidate(tensor.Key, tensor.Shape, tensor.Type)))
        {
            cancellationToken.ThrowIfCancellationRequested();
            candidates++;
            using var scope = new TensorScope();
            var weight = source.Read(tensor.Key);
            if (Int8Weight.Quantize(weight).Error(weight) is var error and <= MaxError)
                errors[tensor.Key] = error;
            source.Drop(tensor.Key);
        }
    }

    /// <summary>Measures the error of every candidate of a model.</summary>
    internal static Int8Layers Choose(StateSource source, CancellationToken cancellationToken) => new(source, cancellationToken);

    /// <summary>Whether a weight is quantized.</summary>
    internal bool Contains(string key) => errors.ContainsKey(key);

    /// <summary>Message about the quantization error; null if the model has no candidates.</summary>
    /// <param name="name">Name of the model.</param>
    internal string? Report(string name)
    {
        if (candidates == 0)
            return null;
        if (errors.Count == 0)
            return $"{name}: none of {candidates} matrices as int8, for each would lose more than {MaxError:P0}";
        var worst = errors.MaxBy(pair => pair.Value);
        return FormattableString.Invariant(
            $"{name}: {errors.Count} of {candidates} matrices as int8, relative error {100 * errors.Values.Average():F2}% on average and {100 * worst.Value:F2}% at most ({worst.Key})");
    }

    /// <summary>Whether name, shape and type of a weight allow quantization.</summary>
    internal static bool IsCandidate(string key, long[] shape, ElementType type) =>
        shape.Length == 2 && shape.All(side => side >= MinSide) && type.IsFloatingPoint()
        && key.EndsWith(".weight", StringComparison.Ordinal)
        && (key.Contains("transformer_blocks.", StringComparison.Ordinal)
            || (key.StartsWith("encoder.block.", StringComparison.Ordinal) && !key.Contains("relative_attention_bias", StringComparison.Ordinal)));
}

/// <summary>
/// Finds the models in a trainer's checkpoint. They are in <c>model</c>, <c>module</c> or an average (<c>ema</c>), beside the state of
/// the optimizer; keys of the transformer begin with <c>dit.</c>, those of the VAE with <c>vae.</c>.
/// </summary>
internal static class TrainingKeys
{
    // The average comes first, because released weights are averages.
    private static readonly string[] Wrappers = ["ema", "ema_model", "model_ema", "model", "module", "state_dict", "_orig_mod"];
    private static readonly string[] Models = ["dit", "vae"];

    /// <summary>Finds the models in a checkpoint.</summary>
    /// <param name="keys">All its keys.</param>
    /// <returns>Names (<c>dit</c>, <c>vae</c>; empty for a checkpoint of one model) and key prefixes.</returns>
    public static IReadOnlyList<(string Name, string Prefix)> Find(IReadOnlyCollection<string> keys)
    {
        var heads = keys.Select(Head).ToHashSet();
        if (Models.Where(heads.Contains).ToList() is { Count: > 0 } models)
            return [.. models.Select(model => (model, model + "." + Deeper(keys, model)))];
        return Array.Find(Wrappers, heads.Contains) is { } wrapper
            ? [.. Find(Under(keys, wrapper)).Select(found => (found.Name, $"{wrapper}.{found.Prefix}"))]
            : [("", "")];
    }

    /// <summary>The weights of one model with the prefix removed from their keys; the result owns the source.</summary>
    /// <param name="source">A checkpoint.</param>
    /// <param name="wanted"><c>dit</c> or <c>vae</c>, for checkpoints with both.</param>
    internal static StateSource Strip(StateSource source, string wanted)
    {
        var found = Find(source.Keys);
        var prefix = found.FirstOrDefault(model => model.Name == wanted, found[0]).Prefix;
        return prefix.Length == 0 ? source : new Stripped(source, prefix);
    }

    private static string Deeper(IReadOnlyCollection<string> keys, string head) => Find(Under(keys, head))[0].Prefix;

    private static List<string> Under(IEnumerable<string> keys, string head) =>
        [.. keys.Where(key => key.StartsWith(head + ".", StringComparison.Ordinal)).Select(key => key[(head.Length + 1)..])];

    private static string Head(string key) => key.IndexOf('.', StringComparison.Ordinal) is var dot and > 0 ? key[..dot] : "";

    private sealed class Stripped(StateSource inner, string prefix) : StateSource
    {
        private readonly StateSource view = inner.WithPrefix(prefix);

        public override string Name => inner.Name;

        public override IReadOnlyCollection<string> Keys => view.Keys;

        public override (long[] Shape, ElementType Type) Describe(string key) => view.Describe(key);

        public override Tensor Read(string key) => view.Read(key);

        public override void Dispose()
        {
            inner.Dispose();
            base.Dispose();
        }
    }
}
