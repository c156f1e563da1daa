namespace PyramidFlow.Training.Data;

/// <summary>How many bad items are too many.</summary>
internal static class BadShare
{
    private const double Most = 0.9;

    /// <summary>Whether (nearly) all are bad: nine of ten, or the only ones there are.</summary>
    public static bool IsTooMuch(int bad, int all) => bad > 0 && bad >= Most * all;
}
