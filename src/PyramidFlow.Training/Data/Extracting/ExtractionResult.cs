namespace PyramidFlow.Training.Data.Extracting;

/// <summary>What an extraction did.</summary>
/// <param name="Made">Files written.</param>
/// <param name="Kept">Files that were finished before.</param>
/// <param name="Lines">Lines of the new annotation file; null when only a part was done and none was written.</param>
/// <param name="Warnings">Sentences for the user.</param>
public sealed record ExtractionResult(int Made, int Kept, int? Lines, IReadOnlyList<string> Warnings);
