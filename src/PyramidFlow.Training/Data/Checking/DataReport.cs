namespace PyramidFlow.Training.Data.Checking;

/// <summary>What a data set holds.</summary>
/// <param name="Lines">Lines of the annotation files that are not blank.</param>
/// <param name="Usable">Items without a fault.</param>
/// <param name="Videos">Usable items with a video.</param>
/// <param name="Images">Usable items with an image.</param>
/// <param name="Captions">Usable items with a caption.</param>
/// <param name="Latents">Usable items with latents.</param>
/// <param name="TextFeatures">Usable items with text features.</param>
/// <param name="Buckets">How many usable items each bucket has.</param>
/// <param name="Seconds">Durations of the usable videos: shortest, median, longest and sum; null when there are none.</param>
/// <param name="CaptionLengths">Lengths of the captions; null when no tokenizer was given or there are none.</param>
/// <param name="Faults">Every fault, by line.</param>
public sealed record DataReport(int Lines, int Usable, int Videos, int Images, int Captions, int Latents, int TextFeatures,
    IReadOnlyList<(Bucket Bucket, int Count)> Buckets, (double Shortest, double Median, double Longest, double Sum)? Seconds,
    CaptionLengths? CaptionLengths, IReadOnlyList<DataFault> Faults)
{
    /// <summary>What is wrong with items that can be used all the same, by line; only known of what was decoded.</summary>
    public IReadOnlyList<DataFault> Warnings { get; init; } = [];
}
