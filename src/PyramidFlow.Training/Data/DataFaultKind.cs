namespace PyramidFlow.Training.Data;

/// <summary>Why an item of a data set cannot be used.</summary>
public enum DataFaultKind
{
    /// <summary>The line of the annotation file is malformed, or lacks what is needed.</summary>
    Line,

    /// <summary>A file is not there.</summary>
    Missing,

    /// <summary>A file is empty, cut off, damaged, or of another kind.</summary>
    Damaged,

    /// <summary>The video is shorter than the clip.</summary>
    TooShort,

    /// <summary>The picture is much smaller than what is made of it.</summary>
    TooSmall,

    /// <summary>Latents or text features of another shape, size or element type.</summary>
    WrongShape,
}
