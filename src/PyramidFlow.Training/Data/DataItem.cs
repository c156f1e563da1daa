namespace PyramidFlow.Training.Data;

/// <summary>An item that can be used, as far as it shows without decoding.</summary>
/// <param name="Annotation">Its line.</param>
/// <param name="Bucket">What it is cut to.</param>
/// <param name="Seconds">Duration of the video; 0 for images and latents.</param>
/// <param name="FramesPerSecond">Average rate of the video as stored; 0 for images and latents.</param>
public sealed record DataItem(Annotation Annotation, Bucket Bucket, double Seconds = 0, double FramesPerSecond = 0);
