using PyramidFlow.Generation;

namespace PyramidFlow.Training.Data;

/// <summary>Places latents by their shape.</summary>
/// <param name="channels">Channels latents have.</param>
/// <param name="sizes">Which sizes in pixels are wanted, width and height; null takes any.</param>
/// <param name="lengths">Lengths in frames, the longest that fits is taken; null takes all there is.</param>
/// <param name="mostFrames">Frames after which clips are cut.</param>
/// <param name="text">What is needed of the caption.</param>
internal sealed class LatentLook(int channels, Buckets? sizes, IReadOnlyList<int>? lengths, int mostFrames, CaptionForm text) : IDataLook
{
    /// <inheritdoc/>
    public ValueTask<DataItem> PlaceAsync(Annotation annotation, CancellationToken cancel)
    {
        if (annotation.Latent is not { } path)
            throw new BadItemException(DataFaultKind.Line, "it has no latent: run extract latents first");
        if (text == CaptionForm.Text && annotation.Text is null)
            throw new BadItemException(DataFaultKind.Line, "it has no text: give every item a caption");
        if (text == CaptionForm.Features && annotation.TextFeatures is null)
            throw new BadItemException(DataFaultKind.Line, "it has no text_fea: run extract text first");
        if (text == CaptionForm.Features && !File.Exists(annotation.TextFeatures))
            throw MediaFaults.Missing(annotation.TextFeatures!);
        var shape = LatentItemFile.Shape(path);
        if (shape[1] != channels)
            throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds latents of {shape[1]} channels, not {channels}: they are of another VAE");
        return ValueTask.FromResult(new DataItem(annotation, Place(path, shape)));
    }

    private Bucket Place(string path, long[] shape)
    {
        var (width, height) = ((int)shape[4] * VideoLength.Scale, (int)shape[3] * VideoLength.Scale);
        if (sizes is not null && !sizes.HasSize(width, height))
            throw new BadItemException(DataFaultKind.WrongShape, $"{path} holds latents of {width}x{height} pixels, which is none of the sizes: extract them again, or add the size");
        var there = Math.Min(mostFrames, VideoLength.OfLatents((int)shape[2]));
        if (shape[2] == 1)
            return new Bucket(width, height, 1);
        var taken = lengths is null ? there : lengths.Where(length => length <= there).DefaultIfEmpty(0).Max();
        return taken > 0
            ? new Bucket(width, height, taken)
            : throw new BadItemException(DataFaultKind.TooShort, $"{path} holds latents of {there} frames, fewer than the shortest clip, {lengths!.Min()}");
    }
}
