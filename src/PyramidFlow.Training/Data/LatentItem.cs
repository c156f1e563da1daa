namespace PyramidFlow.Training.Data;

/// <summary>What is read of an item with latents.</summary>
/// <param name="Latent">[c, t, h, w].</param>
/// <param name="Text">Features of the caption, or null.</param>
internal sealed record LatentItem(float[] Latent, TextItem? Text);
