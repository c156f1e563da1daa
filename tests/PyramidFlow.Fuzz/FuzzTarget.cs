namespace PyramidFlow.Fuzz;

/// <summary>One reader of bytes from outside, and what it promises.</summary>
/// <param name="Name">Name on the command line and of the folder of its committed seeds.</param>
/// <param name="Read">Reads an input. It returns when the input is fine, and throws a documented exception when it is not.</param>
/// <param name="Documented">The exceptions that the reader's documentation names.</param>
/// <param name="Seeds">Inputs that are fine, beside those in the folder of seeds.</param>
/// <param name="Words">Byte strings that mean something to the reader.</param>
internal sealed record FuzzTarget(string Name, Action<byte[]> Read, Type[] Documented, byte[][] Seeds, byte[][] Words)
{
    /// <summary>Whether an exception is one that the reader may throw.</summary>
    public bool Allows(Exception e) => Documented.Any(type => type.IsInstanceOfType(e));
}

/// <summary>A promise that was broken without an exception: an accepted input whose result is impossible.</summary>
internal sealed class WrongResultException(string message) : Exception(message);
