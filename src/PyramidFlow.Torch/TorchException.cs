namespace PyramidFlow.Torch;

/// <summary>libtorch refused an operation, or could not be loaded; the message carries its own words.</summary>
public class TorchException : Exception
{
    /// <summary>Creates the error.</summary>
    public TorchException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
