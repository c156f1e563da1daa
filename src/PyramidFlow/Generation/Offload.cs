namespace PyramidFlow.Generation;

/// <summary>When weights are in memory; the results are the same to the bit.</summary>
public enum Offload
{
    /// <summary>Always, but for text encoders that no prompt has needed yet.</summary>
    None,

    /// <summary>
    /// One model at a time: text encoders, transformer and VAE make room for one another. Of T5, which reads each weight once
    /// for a prompt, only the block at work and the next one.
    /// </summary>
    Model,

    /// <summary>Of the transformer, too, only the block at work and the next one, which is brought meanwhile.</summary>
    Sequential,

    /// <summary>The first of the others that fits the memory that is free.</summary>
    Auto,
}
