using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Hub.Conversion;

/// <summary>One model that is converted.</summary>
/// <param name="Folder">Folder of the result, relative to its root; empty for the root.</param>
/// <param name="Source">Its weights, with the keys of the released layout.</param>
/// <param name="ConfigFile">Its <c>config.json</c>, or null.</param>
internal sealed record ConversionPart(string Folder, StateSource Source, string? ConfigFile)
{
    // A tied copy, and a table that old CLIP checkpoints hold: the released ones do without.
    private static readonly string[] Superfluous = ["encoder.embed_tokens.weight", "text_model.embeddings.position_ids"];

    private const double LargestHalf = 65504;

    private Int8Layers? rounded;

    /// <summary>Measures which weights can be int8, and says what that loses.</summary>
    internal void ChooseInt8(ConversionOptions options, CancellationToken cancel)
    {
        rounded = Int8Layers.Choose(Source, cancel);
        if (rounded.Report(Folder.Length > 0 ? Folder : Source.Name) is { } report)
            options.Report?.Invoke(report);
    }

    /// <summary>What will be written.</summary>
    internal IReadOnlyList<TensorDeclaration> Declare(ElementType? type)
    {
        var shared = Source.Keys.Contains("shared.weight");
        return [.. Source.Declarations()
            .Where(tensor => !Superfluous.Contains(tensor.Key) || (tensor.Key == Superfluous[0] && !shared))
            .SelectMany(tensor => rounded?.Contains(tensor.Key) == true
                ? [tensor with { Type = ElementType.Int8 }, new(tensor.Key + Int8Layers.ScaleSuffix, ElementType.Float32, [tensor.Shape[0]])]
                : (TensorDeclaration[])[type is { } wanted && tensor.Type.IsFloatingPoint() ? tensor with { Type = wanted } : tensor])];
    }

    /// <summary>Writes it, one tensor after another.</summary>
    /// <param name="root">The result's root.</param>
    /// <param name="options">How.</param>
    /// <param name="written">Told how many bytes were written.</param>
    /// <param name="cancel">Checked before every tensor.</param>
    /// <exception cref="CheckpointException">A number is too large for float16.</exception>
    internal void Write(string root, ConversionOptions options, Action<long> written, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        var folder = Path.Combine(root, Folder);
        Directory.CreateDirectory(folder);
        if (ConfigFile is not null)
            File.Copy(ConfigFile, Path.Combine(folder, ComponentFolder.ConfigName));
        ShardedWriter.Write(folder, Stem(), Declare(options.Type), options.ShardBytes, (file, entry) =>
        {
            cancel.ThrowIfCancellationRequested();
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
        if (rounded is null)
            return Source.Read(key);
        if (rounded.Contains(key))
            return Int8Weight.Quantize(Source.Read(key)).Codes;
        var scaled = key.EndsWith(Int8Layers.ScaleSuffix, StringComparison.Ordinal) ? key[..^Int8Layers.ScaleSuffix.Length] : key;
        return scaled != key && rounded.Contains(scaled) ? Int8Weight.Quantize(Source.Read(scaled)).Scales : Source.Read(key);
    }

    // Text encoders are in transformers' format, the others in diffusers'.
    private string Stem() => Source.Keys.Any(key => key.StartsWith("text_model.", StringComparison.Ordinal) || key == "shared.weight")
        ? "model"
        : "diffusion_pytorch_model";

    private void CheckRange(string key, Tensor tensor)
    {
        if (tensor.ElementCount == 0)
            return;
        var largest = Math.Max(tensor.Max().Item(), -tensor.Min().Item());
        if (largest > LargestHalf)
        {
            throw new CheckpointException(FormattableString.Invariant(
                $"{Source.Name}: {key} holds {largest:G4}, too large for fp16: convert it to bf16 or fp32"));
        }
    }
}

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

/// <summary>
/// Finds models in checkpoints as trainers save them: within <c>model</c>, <c>module</c> or an average (<c>ema</c>), with the
/// keys of the transformer under <c>dit.</c> and those of the VAE under <c>vae.</c>, beside the state of the optimiser.
/// </summary>
internal static class TrainingKeys
{
    // The average comes first: it is what the released weights are.
    private static readonly string[] Wrappers = ["ema", "ema_model", "model_ema", "model", "module", "state_dict", "_orig_mod"];
    private static readonly string[] Models = ["dit", "vae"];

    /// <summary>The models in a checkpoint.</summary>
    /// <param name="keys">All its keys.</param>
    /// <returns>Names (<c>dit</c>, <c>vae</c>; empty when it holds one model alone) and what their keys begin with.</returns>
    public static IReadOnlyList<(string Name, string Prefix)> Find(IReadOnlyCollection<string> keys)
    {
        var heads = keys.Select(Head).ToHashSet();
        if (Models.Where(heads.Contains).ToList() is { Count: > 0 } models)
            return [.. models.Select(model => (model, model + "." + Deeper(keys, model)))];
        return Array.Find(Wrappers, heads.Contains) is { } wrapper
            ? [.. Find(Under(keys, wrapper)).Select(found => (found.Name, $"{wrapper}.{found.Prefix}"))]
            : [("", "")];
    }

    /// <summary>The keys of one model without what stands before them; the given source is owned by the result.</summary>
    /// <param name="source">A checkpoint.</param>
    /// <param name="wanted"><c>dit</c> or <c>vae</c>, where there are both.</param>
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
