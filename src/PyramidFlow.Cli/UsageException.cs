namespace PyramidFlow.Cli;

/// <summary>What was typed cannot be done; the message is one sentence with the fix.</summary>
internal sealed class UsageException(string message, Exception? inner = null) : Exception(message, inner);
