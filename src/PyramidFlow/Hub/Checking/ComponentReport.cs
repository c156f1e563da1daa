namespace PyramidFlow.Hub.Checking;

/// <summary>What was found of one model or tokenizer.</summary>
/// <param name="Name">Folder name.</param>
/// <param name="Faults">What keeps it from being used, in the user's words; empty when it is whole.</param>
/// <param name="Weights">Number of weights; 0 for a tokenizer or where they cannot be read.</param>
/// <param name="Bytes">Bytes of the weights.</param>
/// <param name="Types">Element types of the weights, the most frequent first, such as <c>BFloat16</c>.</param>
public sealed record ComponentReport(string Name, IReadOnlyList<string> Faults, long Weights, long Bytes, IReadOnlyList<string> Types);
