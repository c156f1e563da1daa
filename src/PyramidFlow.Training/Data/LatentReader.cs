using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Shards;

namespace PyramidFlow.Training.Data;

/// <summary>A batch of latents from one bucket. The tensors are float32 on the CPU and belong to the scope of the request.</summary>
/// <param name="Bucket">Size and length in pixels.</param>
/// <param name="Latents">[b, c, t, h, w] as encoded by the VAE, without the transformer's normalisation.</param>
/// <param name="Captions">Caption of each item; empty if it has none.</param>
/// <param name="Text">Features of the captions; null if they were not requested.</param>
/// <param name="Lines">Annotation of each item.</param>
internal sealed record LatentBatch(Bucket Bucket, Tensor Latents, IReadOnlyList<string> Captions, PromptFeatures? Text, IReadOnlyList<Annotation> Lines);

/// <summary>Scans the shapes of latents.</summary>
/// <param name="channels">Expected number of channels.</param>
/// <param name="sizes">Accepted sizes in pixels; null accepts any.</param>
/// <param name="lengths">Lengths in frames, of which the longest that fits is used; null keeps the full length.</param>
/// <param name="mostFrames">Longest clip in frames.</param>
/// <param name="text">What is needed of the captions.</param>
/// <param name="vae">Identity of the expected VAE; null accepts any.</param>
internal sealed class LatentScanner(int channels, Buckets? sizes, IReadOnlyList<int>? lengths, int mostFrames, CaptionForm text, string? vae = null) : IItemScanner
{
    /// <inheritdoc/>
    public async ValueTask<DataItem> ScanAsync(Annotation annotation, CancellationToken cancellationToken)
    {
        if (annotation.Latent is not { } path)
            throw new BadItemException(DataFaultKind.Line, TrainingFault.LatentMissing());
        if (text == CaptionForm.Text && annotation.Text is null)
            throw new BadItemException(DataFaultKind.NoCaption, TrainingFault.CaptionMissing(annotation.CaptionFile));
        if (text == CaptionForm.Features && annotation.TextFeatures is null)
            throw new BadItemException(DataFaultKind.Line, TrainingFault.FeaturesMissing());
        if (text == CaptionForm.Features && !ItemFile.Exists(annotation, annotation.TextFeatures!))
            throw MediaFaults.Missing(annotation.TextFeatures!);
        var header = await ItemFile.ReadHeaderAsync(annotation, path, file => Task.FromResult(LatentItemFile.Header(file)), cancellationToken).ConfigureAwait(false);
        var shape = header.Shape!;
        if (shape[1] != channels)
            throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentChannels(path, shape[1], channels));
        if (!Provenance.Fits(header.Encoder, vae))
            throw new BadItemException(DataFaultKind.OtherModel, TrainingFault.LatentOfOtherVae(path));
        return new DataItem(annotation, Place(path, shape));
    }

    /// <inheritdoc/>
    public IReadOnlyList<string?> Files(Annotation annotation) => [annotation.Latent, text == CaptionForm.Features ? annotation.TextFeatures : null];

    private Bucket Place(string path, long[] shape)
    {
        var (width, height) = ((int)shape[4] * VideoLength.Scale, (int)shape[3] * VideoLength.Scale);
        if (sizes is not null && !sizes.HasSize(width, height))
            throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentSize(path, width, height));
        var there = Math.Min(mostFrames, VideoLength.OfLatents((int)shape[2]));
        if (shape[2] == 1)
            return new Bucket(width, height, 1);
        var taken = lengths is null ? there : lengths.Where(length => length <= there).DefaultIfEmpty(0).Max();
        return taken > 0
            ? new Bucket(width, height, taken)
            : throw new BadItemException(DataFaultKind.TooShort, TrainingFault.LatentTooShort(path, there, lengths!.Min()));
    }
}

/// <summary>Reads latents and text features of items.</summary>
/// <param name="text">What is read of the captions.</param>
/// <param name="encoders">Identity of the expected text encoders; null accepts any.</param>
internal sealed class LatentReader(CaptionForm text, string? encoders = null)
{
    /// <exception cref="BadItemException">A file is missing or damaged.</exception>
    public async Task<LatentItem> ReadAsync(DataItem item, KeyedRandom draws, CancellationToken cancellationToken)
    {
        var latent = await ReadAsync(item.Annotation.Latent!, file => LatentItemFile.Read(file, VideoLength.Latents(item.Bucket.Frames))).ConfigureAwait(false);
        return new LatentItem(latent, text == CaptionForm.Features ? await ReadAsync(item.Annotation.TextFeatures!, file => TextItemFile.Read(file, encoders)).ConfigureAwait(false) : null);

        Task<T> ReadAsync<T>(string path, Func<string, T> read) => ItemFile.ReadAsync(item.Annotation, path, file => Task.Run(() => read(file), cancellationToken), cancellationToken);
    }

    /// <summary>Collates items of one bucket into a batch, in the caller's scope.</summary>
    public static LatentBatch Batch(Bucket bucket, LatentItem[] items, string[] captions, Annotation[] lines)
    {
        var (frames, height, width) = (VideoLength.Latents(bucket.Frames), bucket.Height / VideoLength.Scale, bucket.Width / VideoLength.Scale);
        var one = items[0].Latent.Length;
        var latents = Tensor.Empty([items.Length, one / (frames * height * width), frames, height, width]);      // [b, c, t, h, w]
        var numbers = latents.Data<float>();
        foreach (var (i, item) in items.Index())
            item.Latent.CopyTo(numbers[(i * one)..]);
        TextItem[] texts = [.. items.Select(item => item.Text).OfType<TextItem>()];
        return new LatentBatch(bucket, latents, captions, texts.Length > 0 ? TextItem.Batch(texts) : null, lines);
    }
}

/// <summary>Content of an item with latents.</summary>
/// <param name="Latent">[c, t, h, w].</param>
/// <param name="Text">Features of the caption, or null.</param>
internal sealed record LatentItem(float[] Latent, TextItem? Text);

/// <summary>
/// Latents of one item as encoded by the VAE, without normalisation: [1, c, t, h, w]. Safetensors files hold the tensor
/// <c>latent</c>; <c>.pt</c> files hold a bare tensor, as released.
/// </summary>
internal static class LatentItemFile
{
    public const string Key = "latent";

    // Key of normalised latents, written by generate --save-latents.
    private const string Normalised = "latents";

    /// <summary>Reads the shape, [1, c, t, h, w], and which VAE the latents come from, without the data.</summary>
    /// <exception cref="BadItemException">The file is missing or damaged, or holds no latents.</exception>
    public static MemberHeader Header(string path)
    {
        using var file = TensorFile.Open(path);
        return new MemberHeader { Shape = Describe(file, path).Shape, Encoder = Provenance.EncoderOf(file) };
    }

    /// <summary>Reads the first frames as float32, [c, frames, h, w].</summary>
    /// <exception cref="BadItemException">The file is missing or damaged, or its shape changed since the scan.</exception>
    public static float[] Read(string path, int frames)
    {
        using var file = TensorFile.Open(path);
        var (key, shape) = Describe(file, path);
        if (shape[2] < frames)
            throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentChanged(path, shape[2], frames));
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latent = file.Read(key).Reshape(shape).Narrow(2, 0, frames).To(ElementType.Float32).Contiguous();
        var numbers = latent.ToArray<float>();
        return Array.TrueForAll(numbers, float.IsFinite) ? numbers : throw TensorFile.NotFinite(path);
    }

    /// <summary>Validates all numbers of a file.</summary>
    /// <exception cref="BadItemException">The file is damaged, or holds no latents or non-finite numbers.</exception>
    public static void Check(string path) => Read(path, (int)Header(path).Shape![2]);

    public static void Write(string path, Tensor latent, IReadOnlyDictionary<string, string> metadata) =>
        SafetensorsWriter.Write(path, [(Key, latent)], metadata);

    private static (string Key, long[] Shape) Describe(StateSource file, string path)
    {
        if (file.Keys.Contains(Normalised))
            throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentNormalised(path));
        var key = file.Keys.Contains(Key) ? Key : file.Keys.Count == 1 ? file.Keys.First() : null;
        if (key is null)
            throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentKeyMissing(path, file.Keys.Count, Key));
        var (shape, type) = file.Describe(key);
        if (!type.IsFloatingPoint())
            throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentNotFloating(path, type));
        return shape switch
        {
            [1, > 0, > 0, > 0, > 0] => (key, shape),
            [> 0, > 0, > 0, > 0] => (key, [1, .. shape]),
            _ => throw new BadItemException(DataFaultKind.WrongShape, TrainingFault.LatentShape(path, shape)),
        };
    }
}
