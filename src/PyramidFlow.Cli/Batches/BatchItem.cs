using PyramidFlow.Cli.Generating;

namespace PyramidFlow.Cli.Batches;

/// <summary>What a batch file asks for at one place.</summary>
/// <param name="Clip">Settings of its own.</param>
/// <param name="Name">What its file is to be called, as written; null leaves that to the program.</param>
internal sealed record BatchItem(ClipArguments Clip, string? Name);
