using PyramidFlow.Training.Data;
using PyramidFlow.Training.Tests.Loop;

namespace PyramidFlow.Training.Tests.Data;

public class BatchPlanTests
{
    [Fact]
    public void Every_item_of_a_bucket_comes_once_in_each_pass()
    {
        var plan = Plan(new(Seed: 1, BatchSize: 3), images: 12);

        var passes = Enumerable.Range(0, 8).SelectMany(step => Lines(plan.Batch(step))).Chunk(12).ToList();

        Assert.All(passes, pass => Assert.Equal(Enumerable.Range(1, 12), pass.Order()));
        Assert.NotEqual(passes[0], passes[1]);
    }

    [Fact]
    public void Buckets_come_as_often_as_they_have_items()
    {
        var plan = Plan(new(Seed: 1, BatchSize: 2), images: 30, videos: 10);

        var images = Enumerable.Range(0, 10_000).Count(step => plan.Batch(step).Bucket.IsImage);

        Assert.InRange(images, 7_300, 7_700);
    }

    [Fact]
    public void The_share_of_images_can_be_set()
    {
        var plan = Plan(new(Seed: 1, BatchSize: 2, ImageShare: 0.1), images: 30, videos: 10);

        var images = Enumerable.Range(0, 10_000).Count(step => plan.Batch(step).Bucket.IsImage);

        Assert.InRange(images, 850, 1_150);
    }

    [Fact]
    public void A_step_far_ahead_is_the_one_that_is_reached_by_counting()
    {
        var walked = Plan(new(Seed: 1, BatchSize: 2, Rank: 1, World: 3), images: 31, videos: 7);
        var jumped = Plan(new(Seed: 1, BatchSize: 2, Rank: 1, World: 3), images: 31, videos: 7);

        List<int>? last = null;
        for (var step = 0; step <= 20_000; step++)
            last = Lines(walked.Batch(step));

        Assert.Equal(last, Lines(jumped.Batch(20_000)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(4)]
    public void Whole_batches_are_the_same_on_any_number_of_processes(int ranks)
    {
        var config = new ToyConfig { Seed = 9, BatchesPerStep = 4 };
        var one = Plan(BatchPlanOptions.Of(config, batch: 2, rank: 0, ranks: 1), images: 16, videos: 16);
        var plans = Enumerable.Range(0, ranks).Select(rank => Plan(BatchPlanOptions.Of(config, batch: 2, rank, ranks), images: 16, videos: 16)).ToList();

        Assert.All(plans, plan => Assert.Equal(ranks, plan.Stride));
        for (var number = 0; number < 200; number++)
        {
            var (whole, shared) = (one.Batch(number), plans[number % ranks].Batch(number));
            Assert.Equal(Lines(whole), Lines(shared));
            Assert.Equal(whole.Draws(1).NextSingle(), shared.Draws(1).NextSingle());
            // Those of a step are of one bucket, so that no process waits for another.
            Assert.Equal(one.Batch(number / 4 * 4).Bucket, whole.Bucket);
        }

        Assert.Contains(Enumerable.Range(0, 50), step => one.Batch(4 * step).Bucket.IsImage);
        Assert.Contains(Enumerable.Range(0, 50), step => !one.Batch(4 * step).Bucket.IsImage);
        var visited = Enumerable.Range(0, 200).Where(number => one.Batch(number).Bucket.IsImage).SelectMany(number => Lines(one.Batch(number))).Chunk(16).SkipLast(1);
        Assert.All(visited, pass => Assert.Equal(16, pass.Distinct().Count()));
    }

    [Fact]
    public void Processes_have_one_bucket_in_a_step_and_no_item_twice()
    {
        var first = Plan(new(Seed: 9, BatchSize: 2, Rank: 0, World: 2), images: 16, videos: 16);
        var second = Plan(new(Seed: 9, BatchSize: 2, Rank: 1, World: 2), images: 16, videos: 16);

        for (var step = 0; step < 100; step++)
        {
            var (a, b) = (first.Batch(step), second.Batch(step));
            Assert.Equal(a.Bucket, b.Bucket);
            Assert.Equal(4, Lines(a).Concat(Lines(b)).Distinct().Count());
        }
    }

    [Fact]
    public void What_stands_in_for_a_bad_item_is_no_item_of_the_same_batch()
    {
        var plan = Plan(new(Seed: 2, BatchSize: 4), images: 20);

        var batch = plan.Batch(0);

        Assert.DoesNotContain(batch.Item(2, attempt: 1).Annotation.Line, Lines(batch));
        Assert.Equal(Lines(plan.Batch(1))[2], batch.Item(2, attempt: 1).Annotation.Line);
    }

    private static List<int> Lines(PlannedBatch batch) => [.. Enumerable.Range(0, batch.Size).Select(slot => batch.Item(slot).Annotation.Line)];

    private static BatchPlan Plan(BatchPlanOptions options, int images, int videos = 0)
    {
        var items = Enumerable.Range(1, images + videos).Select(line => new DataItem(new Annotation("a.jsonl", line), new Bucket(64, 64, line <= images ? 1 : 9)));
        return new BatchPlan(new DataSet([.. items]), options);
    }
}
