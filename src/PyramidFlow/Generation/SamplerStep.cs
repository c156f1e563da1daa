namespace PyramidFlow.Generation;

/// <summary>A step that has been done.</summary>
/// <param name="Unit">Its unit, from 0.</param>
/// <param name="Stage">Its stage, from 0, the lowest resolution.</param>
/// <param name="Step">Steps of the stage done, from 1.</param>
/// <param name="Steps">Steps of the stage.</param>
public readonly record struct SamplerStep(int Unit, int Stage, int Step, int Steps);
