namespace PyramidFlow.Torch;

/// <summary>A tensor did not fit into the memory of its device, or beyond <see cref="TorchRuntime.LimitMemory"/>. Nothing was changed.</summary>
public sealed class TorchMemoryException : TorchException
{
    /// <summary>Creates the error.</summary>
    public TorchMemoryException(string message, Exception? inner = null)
        : base(message, inner)
    {
    }
}
