using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Training.Data;

/// <summary>Features of one caption.</summary>
/// <param name="Tokens">[length, width], float32.</param>
/// <param name="Length">Number of tokens.</param>
/// <param name="Pooled">[pooled], float32.</param>
internal sealed record TextItem(float[] Tokens, int Length, float[] Pooled)
{
    /// <summary>Feature width of a token.</summary>
    public int Width => Tokens.Length / Length;

    /// <summary>Collates items into a batch, padded with zeros to the longest; float32 on the CPU, in the caller's scope.</summary>
    /// <exception cref="TrainingException">The items come from different models.</exception>
    public static PromptFeatures Batch(IReadOnlyList<TextItem> items)
    {
        var (longest, width, pooled) = (items.Max(item => item.Length), items[0].Width, items[0].Pooled.Length);
        if (items.Any(item => item.Width != width || item.Pooled.Length != pooled))
            throw TrainingFault.FeaturesOfTwoModels();
        var tokens = new float[items.Count * longest * width];
        for (var i = 0; i < items.Count; i++)
            items[i].Tokens.CopyTo(tokens, i * longest * width);
        return new PromptFeatures(Tensor.From(tokens, items.Count, longest, width), [.. items.Select(item => item.Length)],
            Tensor.From<float>([.. items.SelectMany(item => item.Pooled)], items.Count, pooled), []);
    }
}

/// <summary>
/// Features of one caption under the released keys: <c>prompt_embed</c> [1, n, width], <c>prompt_attention_mask</c> [1, n]
/// and <c>pooled_prompt_embed</c> [1, pooled]; <c>.safetensors</c> or <c>.pt</c>. Released files are padded; files written here
/// are not.
/// </summary>
internal static class TextItemFile
{
    private const string Tokens = "prompt_embed", Mask = "prompt_attention_mask", Pooled = "pooled_prompt_embed";

    /// <summary>Reads a file that is not part of a data set, such as that of the empty caption.</summary>
    /// <exception cref="PyramidFlowException">The file is missing or damaged, or holds no features.</exception>
    public static TextItem Open(string path)
    {
        try
        {
            return Read(path);
        }
        catch (BadItemException e)
        {
            throw e.Error;
        }
    }

    /// <summary>Reads the file of an item.</summary>
    /// <param name="path">The file.</param>
    /// <param name="encoders">Identity of the expected text encoders; null accepts any.</param>
    /// <exception cref="BadItemException">The file is missing or damaged, holds no features, or those of other text encoders.</exception>
    internal static TextItem Read(string path, string? encoders = null)
    {
        using var file = TensorFile.Open(path);
        if (!Provenance.Fits(Provenance.EncoderOf(file), encoders))
            throw new BadItemException(DataFaultKind.OtherModel, TrainingFault.FeaturesOfOtherModel(path));
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var tokens = Matrix(file, Tokens, path);
        var length = Length(Vector(file, Mask, path).ToArray<float>(), path);
        if (length > tokens.Size(0))
            throw Fault(TrainingFault.FeaturesMaskTooLong(path, length, Tokens, tokens.Size(0)));
        var numbers = tokens.Narrow(0, 0, length).Contiguous().ToArray<float>();
        var pooled = Vector(file, Pooled, path).ToArray<float>();
        return Array.TrueForAll(numbers, float.IsFinite) && Array.TrueForAll(pooled, float.IsFinite)
            ? new TextItem(numbers, length, pooled)
            : throw TensorFile.NotFinite(path);
    }

    /// <summary>Writes a file. An existing file is replaced when the new one is complete.</summary>
    /// <param name="path">Target file.</param>
    /// <param name="tokens">[1, n, width], without padding.</param>
    /// <param name="pooled">[1, pooled].</param>
    /// <param name="metadata">Metadata of the file.</param>
    internal static void Write(string path, Tensor tokens, Tensor pooled, IReadOnlyDictionary<string, string> metadata)
    {
        using var scope = new TensorScope();
        var mask = Tensor.Ones([1, tokens.Size(1)], ElementType.Int64);
        SafetensorsWriter.Write(path, [(Tokens, tokens), (Mask, mask), (Pooled, pooled)], metadata);
    }

    private static Tensor Matrix(StateSource file, string key, string path) => Find(file, key, path) switch
    {
        [1, > 0, > 0] => file.Read(key).Squeeze(0).To(ElementType.Float32),
        [> 0, > 0] => file.Read(key).To(ElementType.Float32),
        var shape => throw Fault(TrainingFault.FeaturesShape(path, key, shape, "[1, tokens, width]")),
    };

    private static Tensor Vector(StateSource file, string key, string path) => Find(file, key, path) switch
    {
        [1, > 0] or [> 0] => file.Read(key).Reshape(-1).To(ElementType.Float32),
        var shape => throw Fault(TrainingFault.FeaturesShape(path, key, shape, "[1, n]")),
    };

    private static long[] Find(StateSource file, string key, string path) => file.Keys.Contains(key)
        ? file.Describe(key).Shape
        : throw Fault(TrainingFault.FeaturesLack(path, key));

    // All tokens come before the padding.
    private static int Length(float[] mask, string path)
    {
        var length = Array.FindLastIndex(mask, open => open != 0) + 1;
        return length > 0 && Array.TrueForAll(mask[..length], open => open == 1)
            ? length
            : throw Fault(TrainingFault.FeaturesMask(path, Mask));
    }

    private static BadItemException Fault(TrainingException error) => new(DataFaultKind.WrongShape, error);
}
