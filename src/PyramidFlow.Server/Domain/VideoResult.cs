namespace PyramidFlow.Server.Domain;

/// <summary>What a finished video is.</summary>
/// <param name="Frames">Frames of the file, given ones among them.</param>
/// <param name="Bytes">Size of the file and of all that is kept with it.</param>
/// <param name="Seconds">How long it took to make.</param>
/// <param name="Warnings">Sentences for the user, such as that the prompt was cut.</param>
public sealed record VideoResult(int Frames, long Bytes, double Seconds, IReadOnlyList<string> Warnings);
