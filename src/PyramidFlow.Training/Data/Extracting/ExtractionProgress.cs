namespace PyramidFlow.Training.Data.Extracting;

/// <summary>How far an extraction is.</summary>
/// <param name="Phase">What it does.</param>
/// <param name="Done">Items done.</param>
/// <param name="Total">Items there are.</param>
public sealed record ExtractionProgress(string Phase, int Done, int Total);
