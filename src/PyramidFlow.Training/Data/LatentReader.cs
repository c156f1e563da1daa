using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Data;

/// <summary>Reads latents and features of items.</summary>
/// <param name="text">What is read of the captions.</param>
internal sealed class LatentReader(CaptionForm text)
{
    /// <exception cref="BadItemException">A file is missing or damaged.</exception>
    public Task<LatentItem> ReadAsync(DataItem item, SpriteRandom draws, CancellationToken cancel) => Task.Run(() =>
    {
        var latent = LatentItemFile.Read(item.Annotation.Latent!, VideoLength.Latents(item.Bucket.Frames));
        return new LatentItem(latent, text == CaptionForm.Features ? TextItemFile.Read(item.Annotation.TextFeatures!) : null);
    }, cancel);

    /// <summary>Items of one bucket as one batch, in the caller's scope.</summary>
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
