namespace PyramidFlow.Cli.Batches;

/// <summary>A file that is still to be made.</summary>
/// <param name="Entry">Index of its item in the batch file.</param>
/// <param name="Copy">Which of the item's files, from 0.</param>
/// <param name="File">Its path.</param>
internal readonly record struct BatchJob(int Entry, int Copy, string File);
