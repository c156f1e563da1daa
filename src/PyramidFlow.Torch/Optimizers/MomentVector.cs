namespace PyramidFlow.Torch;

/// <summary>
/// A running mean of <see cref="AdamW"/> for each weight that a process updates, in float32 or in 8-bit codes. Codes are magnitudes on a logarithmic scale, relative to the largest
/// one of each 256 neighbours (block-wise as in Dettmers et al., arXiv 2110.02861); a value lies at most one level from its code.
/// Rounding is dithered: the threshold between two codes changes with each step, so that the mean of the codes is the value.
/// </summary>
/// <remarks>
/// A value and the code that it was read from are the same when written again, so that a saved float32 value restores the code. Means of the gradient have 127 levels of 9.2% for each
/// sign, down to 2^-16 of the largest, and zero; means of its square have 256 levels of 9.1%, down to 2^-32, and no zero, since a weight whose mean square is rounded to zero would make a
/// step without bound.
/// </remarks>
internal sealed class MomentVector : IDisposable
{
    /// <summary>Number of neighbouring values with one scale.</summary>
    internal const int Block = 256;

    // Values decoded together, a multiple of the block.
    private const long Piece = 1 << 22;

    private const double SignedRange = 16, UnsignedRange = 32;
    private const double GoldenRatio = 0.6180339887498949;

    // The least normal number of float32.
    private const double Smallest = 1.2e-38;

    private readonly Tensor? values;
    private readonly Tensor? codes, scales;
    private readonly (long Start, long Length, long Block)[] shares = [];
    private readonly bool isSigned;

    /// <summary>Creates zeros.</summary>
    /// <param name="parameters">The weights.</param>
    /// <param name="inCodes">Whether to hold 8-bit codes.</param>
    /// <param name="isSigned">Whether values may be negative.</param>
    internal MomentVector(FlatParameters parameters, bool inCodes, bool isSigned)
    {
        this.isSigned = isSigned;
        if (!inCodes)
        {
            values = TensorScope.Release(parameters.Values.ZerosLike());
            return;
        }

        // Blocks begin with each share, so that their bits do not depend on who holds which share.
        var blocks = 0L;
        var found = new List<(long, long, long)>();
        foreach (var (start, length) in parameters.Division.SharesOf(parameters.Count))
        {
            found.Add((start, length, blocks));
            blocks += BlocksOf(length);
        }

        shares = [.. found];
        var device = parameters.Values.Device;
        codes = TensorScope.Release(Tensor.Zeros([blocks * Block], isSigned ? ElementType.Int8 : ElementType.UInt8, device));
        scales = TensorScope.Release(Tensor.Zeros([blocks], ElementType.Float32, device));
    }

    /// <summary>The values, float32, if they are held as such.</summary>
    /// <exception cref="InvalidOperationException">They are held as codes.</exception>
    internal Tensor Values => values ?? throw new InvalidOperationException("the moments are held in 8-bit codes");

    /// <summary>Whether values are held in 8-bit codes.</summary>
    internal bool IsInCodes => values is null;

    /// <summary>Bytes that it takes.</summary>
    internal long Bytes => values is { } whole ? whole.ElementCount * sizeof(float) : codes!.ElementCount + (scales!.ElementCount * sizeof(float));

    /// <summary>Some values, float32: a view of those in float32, which changes write to, otherwise a copy.</summary>
    /// <param name="start">First value; in codes, the beginning of a block of a share.</param>
    /// <param name="length">Number of values, within a share where they are held in codes.</param>
    internal Tensor Read(long start, long length)
    {
        if (values is not null)
            return values.Narrow(0, start, length);
        using var scope = new TensorScope();
        var (block, count) = Place(start, length);
        var code = codes!.Narrow(0, block * Block, count * Block).To(ElementType.Float32).View([count, Block]);
        var magnitude = Magnitudes(isSigned ? code.Abs() : code + 1) * scales!.Narrow(0, block, count).View([count, 1]);
        if (isSigned)
            magnitude *= code.Clamp(-1, 1);
        return scope.Keep(magnitude.View([count * Block]).Narrow(0, 0, length));
    }

    /// <summary>Replaces some values; does nothing where <see cref="Read(long, long)"/> gave a view.</summary>
    /// <param name="start">As for <see cref="Read(long, long)"/>.</param>
    /// <param name="changed">The values, float32.</param>
    /// <param name="turn">Number of the change, which decides what is rounded up; null takes the nearest code.</param>
    internal void Write(long start, Tensor changed, long? turn)
    {
        if (values is not null)
            return;
        using var scope = new TensorScope();
        var (block, count) = Place(start, changed.ElementCount);
        var padding = (count * Block) - changed.ElementCount;
        var given = (padding > 0 ? changed.Pad([0, padding]) : changed).View([count, Block]);
        var magnitude = isSigned ? given.Abs() : given;
        var scale = magnitude.Amax([1], keepDim: true);
        var relative = magnitude / scale.ClampMin(Smallest);                                         // 0 to 1
        // The level below, and how far it is to the one above.
        var lower = ((relative.ClampMin(Smallest).Log() / Step) + Levels).Floor().Clamp(isSigned ? 0 : 1, Levels);
        var below = Magnitudes(lower);
        var way = (relative - below) / (Magnitudes(lower + 1) - below);
        var level = (lower + (way - Thresholds(turn, scales!.Device)).Gt(0).To(ElementType.Float32)).Clamp(0, Levels);
        var code = isSigned ? level * ((given.Gt(0).To(ElementType.Float32) * 2) - 1) : level - 1;
        codes!.Narrow(0, block * Block, count * Block).CopyFrom(code.To(codes.Type).View([count * Block]));
        scales.Narrow(0, block, count).CopyFrom(scale.View([count]));
    }

    /// <summary>Gives all values in pieces, float32, so that they are never decoded together.</summary>
    /// <param name="take">Receives the first place of a piece and the piece, which is valid during the call.</param>
    internal void Read(Action<long, Tensor> take)
    {
        if (values is not null)
        {
            take(0, values);
            return;
        }

        foreach (var (start, length) in Pieces())
        {
            using var scope = new TensorScope();
            take(start, Read(start, length));
        }
    }

    /// <summary>Replaces all values.</summary>
    /// <param name="all">The values, in any floating-point type.</param>
    internal void Load(Tensor all)
    {
        values?.CopyFrom(all);
        foreach (var (start, length) in Pieces())
        {
            using var scope = new TensorScope();
            Write(start, all.Narrow(0, start, length).To(scales!.Device).To(ElementType.Float32), turn: null);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        values?.Dispose();
        codes?.Dispose();
        scales?.Dispose();
    }

    // Levels above zero.
    private int Levels => isSigned ? sbyte.MaxValue : byte.MaxValue + 1;

    // Natural logarithm of the ratio of neighbouring levels.
    private double Step => (isSigned ? SignedRange : UnsignedRange) * Math.Log(2) / (Levels - 1);

    // Relative to the largest: 1 at the highest level, 0 at level 0. A code of a square is one less than its level, which is never 0.
    private Tensor Magnitudes(Tensor level) => ((level - Levels) * Step).Exp() * level.Clamp(0, 1);

    // Golden-ratio sequences, which begin elsewhere in each turn: every place of a block rounds up as often as its share says.
    private static Tensor Thresholds(long? turn, Device device)
    {
        if (turn is not { } number)
            return Tensor.Full([1, Block], 0.5, ElementType.Float32, device);
        var begin = Fraction(number * GoldenRatio * Math.PI);
        return Tensor.From([.. Enumerable.Range(0, Block).Select(place => (float)Fraction(begin + (place * GoldenRatio)))], 1, Block).To(device);

        static double Fraction(double value) => value - Math.Floor(value);
    }

    private static long BlocksOf(long length) => (length + Block - 1) / Block;

    private IEnumerable<(long Start, long Length)> Pieces()
    {
        foreach (var (first, count, _) in shares)
        {
            for (var start = 0L; start < count; start += Piece)
                yield return (first + start, Math.Min(Piece, count - start));
        }
    }

    private (long Block, long Count) Place(long start, long length)
    {
        var share = shares.Last(share => share.Start <= start);
        var (block, rest) = Math.DivRem(start - share.Start, Block);
        return rest == 0 && start + length <= share.Start + share.Length && (length % Block == 0 || start + length == share.Start + share.Length)
            ? (share.Block + block, BlocksOf(length))
            : throw new ArgumentException($"values {start} to {start + length} are no whole blocks of a share");
    }
}
