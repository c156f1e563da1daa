namespace PyramidFlow.Training.Sprites;

/// <summary>Counts how often verdicts agree with what was asked for.</summary>
public sealed class SpriteAccuracy
{
    private int size, colour, shape, motion, background, all;

    /// <summary>Clips counted.</summary>
    public int Count { get; private set; }

    /// <summary>
    /// Share of clips with the right size, 0..1; not a number before the first clip (so are the others).
    /// </summary>
    public double Size => (double)size / Count;

    /// <summary>Share of clips with the right colour, 0..1.</summary>
    public double Colour => (double)colour / Count;

    /// <summary>Share of clips with the right shape, 0..1.</summary>
    public double Shape => (double)shape / Count;

    /// <summary>Share of clips with the right motion, 0..1.</summary>
    public double Motion => (double)motion / Count;

    /// <summary>Share of clips with the right background, 0..1.</summary>
    public double Background => (double)background / Count;

    /// <summary>Share of clips with everything right, 0..1.</summary>
    public double All => (double)all / Count;

    /// <summary>Mean of the five shares, 0..1.</summary>
    public double Mean => (Size + Colour + Shape + Motion + Background) / 5;

    /// <summary>Counts one clip.</summary>
    /// <param name="expected">What the prompt asked for.</param>
    /// <param name="verdict">What the judge found.</param>
    public void Add(SpriteAttributes expected, SpriteVerdict verdict)
    {
        Count++;
        size += verdict.Size == expected.Size ? 1 : 0;
        colour += verdict.Colour == expected.Colour ? 1 : 0;
        shape += verdict.Shape == expected.Shape ? 1 : 0;
        motion += verdict.Motion == expected.Motion ? 1 : 0;
        background += verdict.Background == expected.Background ? 1 : 0;
        all += verdict.Attributes == expected ? 1 : 0;
    }
}
