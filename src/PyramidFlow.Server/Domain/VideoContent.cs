namespace PyramidFlow.Server.Domain;

/// <summary>A file of a video.</summary>
/// <param name="Stream">Its bytes; seekable. The caller disposes it.</param>
/// <param name="ContentType">Such as <c>video/mp4</c>.</param>
/// <param name="FileName">A name to save it under.</param>
/// <param name="ChangedAt">When it was written.</param>
public sealed record VideoContent(Stream Stream, string ContentType, string FileName, DateTimeOffset ChangedAt);
