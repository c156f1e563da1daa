namespace PyramidFlow.Cli;

/// <summary>A command could not do its work; the message is one sentence with the fix.</summary>
internal sealed class CommandException(string message, Exception? inner = null) : Exception(message, inner);
