namespace PyramidFlow.Torch.Checkpoints;

/// <summary>A checkpoint file is missing, damaged, hostile or of another model; the message names file and fault.</summary>
public sealed class CheckpointException : IOException
{
    /// <summary>Creates the error.</summary>
    /// <param name="message">One sentence for the user, with the file's name and the fix.</param>
    /// <param name="inner">What was underneath, if anything.</param>
    public CheckpointException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
