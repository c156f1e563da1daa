namespace PyramidFlow.Server;

/// <summary>A server or worker cannot start; the message is one sentence with the fix.</summary>
/// <param name="message">The sentence.</param>
/// <param name="inner">What lies behind it.</param>
public sealed class StartException(string message, Exception? inner = null) : Exception(message, inner);
