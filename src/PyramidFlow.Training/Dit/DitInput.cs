namespace PyramidFlow.Training.Dit;

/// <summary>What a transformer's training reads of each item.</summary>
public enum DitInput
{
    /// <summary>Videos and images, which go through the VAE.</summary>
    Media,

    /// <summary>Latents that were extracted before.</summary>
    Latents,
}
