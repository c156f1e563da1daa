namespace PyramidFlow.Training.Data.Checking;

/// <summary>Looks at everything an item names: media, latents and text features. Latents decide the bucket where there are some.</summary>
/// <param name="clips">Looks at videos and images.</param>
/// <param name="latents">Looks at latents.</param>
internal sealed class CheckLook(ClipLook clips, LatentLook latents) : IDataLook
{
    /// <inheritdoc/>
    public async ValueTask<DataItem> PlaceAsync(Annotation annotation, CancellationToken cancel)
    {
        // Media may have stayed on the machine where the latents were made.
        var media = annotation.Media is { } path && (annotation.Latent is null || File.Exists(path))
            ? await clips.PlaceAsync(annotation, cancel).ConfigureAwait(false)
            : null;
        if (annotation.TextFeatures is { } features)
            TextItemFile.Read(features);
        if (annotation.Latent is null)
            return media ?? throw new BadItemException(DataFaultKind.Line, "it has none of video, image and latent: there is nothing to train on");
        var placed = await latents.PlaceAsync(annotation, cancel).ConfigureAwait(false);
        return media is null ? placed : media with { Bucket = placed.Bucket };
    }
}
