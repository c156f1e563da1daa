using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Dit;

public class StageLengthsTests
{
    [Theory]
    [InlineData(16, 1, 8, 1)]
    [InlineData(31, 1, 8, 1)]
    [InlineData(16, 1, 8, 3)]
    [InlineData(16, 1, 4, 4)]
    [InlineData(9, 2, 8, 1)]
    [InlineData(3, 1, 8, 8)]
    public void Every_count_of_units_is_trained_equally_often_at_full_resolution(int frames, int perUnit, int group, int ranks)
    {
        var lengths = new StageLengths { MaxTemporalLength = frames, FramesPerUnit = perUnit, SyncGroup = group };
        var counts = Enumerable.Range(0, lengths.MaxUnits).SelectMany(batch => Enumerable.Range(0, ranks).Select(rank => lengths.At(batch, 3, rank, ranks)[2]));
        Assert.Equal(Enumerable.Range(1, lengths.MaxUnits), counts.Distinct().Order());
        Assert.All(counts.GroupBy(c => c), group => Assert.Equal(ranks, group.Count()));
    }

    [Fact]
    public void The_lower_stages_take_what_the_highest_leaves()
    {
        var lengths = new StageLengths { MaxTemporalLength = 16 };
        for (var batch = 0; batch < 16; batch++)
        {
            var units = lengths.At(batch, 3);
            Assert.Equal(units[0], units[1]);
            Assert.Equal(17, units[1] + units[2]);
        }
    }

    [Fact]
    public void Processes_of_a_group_train_different_counts_of_one_clip()
    {
        var lengths = new StageLengths { MaxTemporalLength = 16, SyncGroup = 8 };
        Assert.Equal(Enumerable.Range(9, 8), Enumerable.Range(0, 8).Select(rank => lengths.At(1, 3, rank, 8)[2]));
        Assert.Equal(lengths.At(1, 3, 1, 16), lengths.At(1, 3, 9, 16));
    }

    [Fact]
    public void A_shorter_clip_is_trained_in_all_its_counts()
    {
        var lengths = new StageLengths { MaxTemporalLength = 16 };
        Assert.Equal([1, 2, 3], Enumerable.Range(0, 3).Select(batch => lengths.At(batch, 3, available: 3)[2]));
        Assert.Equal([1, 1, 1], lengths.At(5, 3, available: lengths.UnitsOf(1)));
    }

    [Fact]
    public void A_clip_shorter_than_the_released_group_is_refused_as_released_only()
    {
        var lengths = new StageLengths { MaxTemporalLength = 4, SyncGroup = 8 };
        Assert.Equal([4, 4, 1], lengths.At(0, 3));
        Assert.Contains("at most 4", Assert.Throws<InvalidOperationException>(() => (lengths with { AsReleased = true }).At(0, 3)).Message, StringComparison.Ordinal);
    }
}
