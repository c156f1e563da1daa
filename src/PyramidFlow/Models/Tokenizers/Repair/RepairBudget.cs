namespace PyramidFlow.Models.Tokenizers.Repair;

/// <summary>
/// A limit on the characters looked at for one line. Text can be made to need a round of repair for every few
/// characters; the work grows with the line's length all the same.
/// </summary>
internal sealed class RepairBudget(int length)
{
    private const int RoundsPerCharacter = 32;
    private const int Free = 1 << 16;

    private long left = Free + ((long)RoundsPerCharacter * length);

    /// <summary>Takes a round over a text; false where nothing is left.</summary>
    public bool TakeRound(string text)
    {
        left -= text.Length;
        return left >= 0;
    }
}
