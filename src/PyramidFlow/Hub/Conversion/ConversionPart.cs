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
