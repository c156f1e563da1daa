namespace PyramidFlow.Cli.Parsing;

/// <summary>Pixels of a frame.</summary>
internal readonly record struct FrameSize(int Width, int Height);
