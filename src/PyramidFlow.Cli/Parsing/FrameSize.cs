namespace PyramidFlow.Cli.Parsing;

/// <summary>Pixels of a frame.</summary>
internal readonly record struct FrameSize(int Width, int Height);

/// <summary>A seed that was asked for.</summary>
/// <param name="Seed">The seed; null is any, also where something else names one.</param>
internal readonly record struct SeedChoice(ulong? Seed);
