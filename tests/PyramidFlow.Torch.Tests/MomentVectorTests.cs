namespace PyramidFlow.Torch.Tests;

/// <summary>Moments in 8-bit codes: how far a value is from its code, and what many roundings amount to.</summary>
public sealed class MomentVectorTests : IDisposable
{
    // Not a multiple of a block.
    private const int Count = 999;
    private const double SignedLevel = 1.093, UnsignedLevel = 1.092;

    private readonly Linear linear = new(Count - 1, 1);
    private readonly FlatParameters parameters;

    public MomentVectorTests()
    {
        using var generator = new RandomGenerator(1);
        linear.Initialize(generator);
        parameters = new FlatParameters(("", linear));
    }

    public void Dispose()
    {
        parameters.Dispose();
        linear.Dispose();
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void A_value_is_less_than_a_level_away_however_small_it_is(bool isSigned)
    {
        using var moments = new MomentVector(parameters, inCodes: true, isSigned);
        using var scope = new TensorScope();
        var given = Values(isSigned, decades: 4);
        for (var turn = 0; turn < 20; turn++)
        {
            moments.Write(0, Tensor.From<float>(given), turn);
            Assert.All(given.Zip(moments.Read(0, Count).ToArray<float>()), pair =>
                Assert.InRange(pair.Second / pair.First, 1 / (isSigned ? SignedLevel : UnsignedLevel), isSigned ? SignedLevel : UnsignedLevel));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void The_mean_of_many_roundings_is_the_value(bool isSigned)
    {
        using var moments = new MomentVector(parameters, inCodes: true, isSigned);
        var given = Values(isSigned, decades: 3);
        var sums = new double[Count];
        const int turns = 400;
        for (var turn = 0; turn < turns; turn++)
        {
            using var scope = new TensorScope();
            moments.Write(0, Tensor.From<float>(given), turn);
            foreach (var (i, value) in moments.Read(0, Count).ToArray<float>().Index())
                sums[i] += value / turns;
        }

        Assert.All(given.Zip(sums), pair => Assert.InRange(pair.Second / pair.First, 0.998, 1.002));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void What_was_read_is_the_same_when_written_again(bool isSigned)
    {
        using var moments = new MomentVector(parameters, inCodes: true, isSigned);
        using var scope = new TensorScope();
        moments.Write(0, Tensor.From<float>(Values(isSigned, decades: 12)), turn: 3);
        var read = moments.Read(0, Count).ToArray<float>();
        using var again = new MomentVector(parameters, inCodes: true, isSigned);
        again.Load(Tensor.From<float>(read));
        Assert.Equal(read, again.Read(0, Count).ToArray<float>());
    }

    [Fact]
    public void The_smallest_squares_are_rounded_up_and_the_smallest_means_to_zero()
    {
        using var squares = new MomentVector(parameters, inCodes: true, isSigned: false);
        using var means = new MomentVector(parameters, inCodes: true, isSigned: true);
        using var scope = new TensorScope();
        float[] given = [1, 1e-14f, 0, -1e-14f, .. new float[Count - 4]];
        squares.Write(0, Tensor.From<float>([.. given.Select(Math.Abs)]), turn: null);
        means.Write(0, Tensor.From<float>(given), turn: null);

        var square = squares.Read(0, Count).ToArray<float>();
        Assert.Equal(1, square[0]);
        Assert.InRange(square[1], 1e-10, 1e-9);
        // A block of zeros is zero.
        Assert.Equal(0, square[^1]);
        Assert.Equal([1, 0, 0, 0], means.Read(0, Count).ToArray<float>()[..4]);
        Assert.InRange((squares.Bytes + means.Bytes) / (double)Count, 2, 2.1);
        Assert.Throws<ArgumentException>(() => means.Read(3, 5));
    }

    // Magnitudes over some powers of ten in each block.
    private static float[] Values(bool isSigned, int decades)
    {
        var random = new Random(7);
        return [.. Enumerable.Range(0, Count).Select(_ => (float)(Math.Pow(10, -decades * random.NextDouble()) * (isSigned && random.Next(2) == 0 ? -1 : 1)))];
    }
}
