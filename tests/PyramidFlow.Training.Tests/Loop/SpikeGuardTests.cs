using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Tests.Loop;

public class SpikeGuardTests
{
    [Fact]
    public void A_single_spike_is_named_and_the_next_step_is_not()
    {
        var guard = Experienced(10);
        Assert.Contains("loss 20 is 20 times its median", guard.Judge(("loss", 20)), StringComparison.Ordinal);
        Assert.Null(guard.Judge(("loss", 9)));
        Assert.Equal(1, guard.Skipped);
    }

    [Fact]
    public void What_lasts_is_no_spike()
    {
        var guard = Experienced(10);
        var judged = Enumerable.Range(0, 8).Select(_ => guard.Judge(("loss", 20)) is null).ToList();
        Assert.Equal([false, false, false, false, false, true], judged.Take(6));
        Assert.Equal(5, judged.IndexOf(true));
    }

    [Fact]
    public void Nothing_is_judged_before_there_is_something_to_compare_with_or_when_it_is_off()
    {
        Assert.Null(new SpikeGuard(10).Judge(("loss", 1000)));
        Assert.Null(Experienced(0).Judge(("loss", 1000)));
    }

    [Fact]
    public void A_part_that_begins_late_is_no_spike()
    {
        var guard = new SpikeGuard(10);
        for (var i = 0; i < 30; i++)
            Assert.Null(guard.Judge(("discriminator", 0)));
        Assert.Null(guard.Judge(("discriminator", 5)));
    }

    private static SpikeGuard Experienced(double factor)
    {
        var guard = new SpikeGuard(factor);
        for (var i = 0; i < 30; i++)
            guard.Judge(("loss", 1));
        return guard;
    }
}
