namespace PyramidFlow.Torch.Checkpoints;

/// <summary>A checkpoint file is missing, damaged, hostile or of another model; the message names file and fault.</summary>
public sealed class CheckpointException : IOException
{
    private const int MaxLength = 4000;

    /// <summary>Creates the error.</summary>
    /// <param name="message">One sentence for the user, with the file's name and the fix. What the file says in it stays one line: control characters become question marks.</param>
    /// <param name="inner">What was underneath, if anything.</param>
    public CheckpointException(string message, Exception? inner = null)
        : base(OneLine(message), inner)
    {
    }

    private static string OneLine(string message) =>
        string.Concat(message.Take(MaxLength).Select(c => char.IsControl(c) ? '?' : c)) + (message.Length > MaxLength ? "..." : "");
}
