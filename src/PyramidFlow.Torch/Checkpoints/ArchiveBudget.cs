namespace PyramidFlow.Torch.Checkpoints;

/// <summary>
/// What one PyTorch checkpoint may cost to be listed. A pickle can use its parts again and again, so that a few kilobytes stand for
/// gigabytes: whatever is made or looked at on the way from the file to its keys is counted here, for the whole file together.
/// </summary>
/// <param name="path">What to call the file in an error.</param>
internal sealed class ArchiveBudget(string path)
{
    // Some ten thousand tensors with keys of a hundred characters, as the largest training checkpoints have, take a tenth of either.
    private const int MaxItems = 1 << 18;
    private const long MaxBytes = 128 << 20;

    private int items;
    private long bytes;

    /// <summary>Counts one item of a container that is looked at.</summary>
    /// <exception cref="CheckpointException">It is one too many.</exception>
    internal void Visit()
    {
        if (++items > MaxItems)
            throw TooLarge();
    }

    /// <summary>Counts memory that is about to be taken.</summary>
    /// <param name="count">Bytes, about.</param>
    /// <exception cref="CheckpointException">It is too much.</exception>
    internal void Take(long count)
    {
        bytes += count;
        if (bytes > MaxBytes)
            throw TooLarge();
    }

    /// <summary>The error for containers that nobody can list.</summary>
    internal CheckpointException TooLarge() => new(
        $"{path} is not a readable PyTorch checkpoint: its containers are nested too deeply, too large or contain themselves; "
        + "save only model.state_dict()");
}
