namespace PyramidFlow.Generation;

/// <summary>A prompt and the unit it begins with.</summary>
/// <param name="FromUnit">First unit made with it.</param>
/// <param name="Prompt">What is to be seen, with its suffix.</param>
public sealed record UnitPrompt(int FromUnit, string Prompt);
