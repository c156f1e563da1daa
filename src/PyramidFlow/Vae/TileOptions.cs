namespace PyramidFlow.Vae;

/// <summary>Works on square parts of the frames one after another: less memory, another picture near the seams.</summary>
/// <param name="Size">Side of a tile in pixels; frames that fit into one are not cut.</param>
/// <param name="Overlap">Share of a tile that lies over its neighbour: above 0, at most a half.</param>
/// <param name="Blend">How the overlap is blended.</param>
public sealed record TileOptions(int Size = 256, double Overlap = 0.25, TileBlend Blend = TileBlend.Weighted);
