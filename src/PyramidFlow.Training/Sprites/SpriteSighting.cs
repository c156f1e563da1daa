using System.Numerics;

namespace PyramidFlow.Training.Sprites;

/// <summary>
/// A sprite found in a frame: centroid and area in pixels, colour 0..255, and the box around it with its rim.
/// </summary>
internal sealed record SpriteSighting(
    double X, double Y, double Area, Vector3 Colour, (int X0, int Y0, int X1, int Y1) Box);
