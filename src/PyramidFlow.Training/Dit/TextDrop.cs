using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>Which rows of a batch train without their prompt, so that guidance has something to steer away from.</summary>
public static class TextDrop
{
    /// <summary>
    /// Chooses rows; give them to <see cref="PyramidFlow.Models.TextCondition.Replace"/>, or encode an empty prompt for them.
    /// </summary>
    /// <param name="rows">Rows of the batch.</param>
    /// <param name="rate">Probability for each row, 0 to 1.</param>
    /// <param name="draws">Source of the draws, which come before all others of the batch.</param>
    public static bool[] Choose(int rows, double rate, ITrainingDraws draws) =>
        [.. draws.Uniform(rows).Select(u => u <= (float)rate)];
}
