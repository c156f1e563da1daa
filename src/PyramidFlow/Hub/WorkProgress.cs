namespace PyramidFlow.Hub;

/// <summary>How far the writing of a checkpoint is.</summary>
/// <param name="Part">Component that is being written.</param>
/// <param name="Bytes">Bytes written.</param>
/// <param name="TotalBytes">Bytes there will be.</param>
public sealed record WorkProgress(string Part, long Bytes, long TotalBytes);
