namespace PyramidFlow.Cli.Batches;

/// <summary>Where an item of a batch stands in its file; the text is read when its turn comes.</summary>
/// <param name="Line">Line it begins on, from 1.</param>
/// <param name="Start">First byte of the value.</param>
/// <param name="Length">Bytes of the value.</param>
/// <param name="KeyStart">First byte of the JSON text that names the item, or -1.</param>
/// <param name="IsRepeated">Whether an earlier item has the same key.</param>
internal readonly record struct BatchEntry(int Line, int Start, int Length, int KeyStart = -1, bool IsRepeated = false);
