using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public sealed class HistoryWindowTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task A_clip_that_fits_into_the_window_is_the_same_without()
    {
        var request = TinyPipeline.Request with { Frames = 25 };
        Assert.Equal(await tiny.Frames(request), await tiny.Frames(request with { HistoryWindow = 3 }));
    }

    [Fact]
    public async Task A_longer_clip_begins_the_same_and_differs_from_where_history_is_cut()
    {
        var request = TinyPipeline.Request with { Frames = 41 };
        var (whole, cut) = (await tiny.Chunks(request), await tiny.Chunks(request with { HistoryWindow = 3 }));
        Assert.Equal(TinyPipeline.Bytes(whole.Take(4)), TinyPipeline.Bytes(cut.Take(4)));
        Assert.NotEqual(whole[4].Rgb.ToArray(), cut[4].Rgb.ToArray());
        Assert.Equal(TinyPipeline.Bytes(cut), await tiny.Frames(request with { HistoryWindow = 3 }));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Latents_are_the_same_whether_they_are_decoded_or_not(int framesPerUnit)
    {
        var request = TinyPipeline.Request with { Frames = 49, HistoryWindow = 2, FramesPerUnit = framesPerUnit };
        var before = Tensor.LiveCount;
        var streamed = LatentClip.Join([.. (await tiny.Chunks(request)).Select(c => c.Latents!)]);
        using (var latents = tiny.Pipeline.GenerateLatents(request, cancellationToken: Cancel))
            Assert.Equal(latents.ToArray<float>(), streamed.Values.ToArray());
        Assert.Equal(before, Tensor.LiveCount);
    }

    [Fact]
    public void A_cut_history_begins_with_a_picture_of_the_frame_before_it()
    {
        using var scope = new TensorScope();
        var asked = new List<long>();
        using var history = new ClipHistory(3);
        Assert.Null(history.Latents);
        Assert.Null(history.Cut);
        var seen = new List<float[]>();
        for (var frame = 0; frame < 6; frame++)
        {
            history.Add(Tensor.Full([1, 1, 1, 1, 1], frame));
            if (history.Cut is { } latent)
            {
                asked.Add(latent);
                history.BeginWith(Tensor.Full([1, 1, 1, 1, 1], -latent));
            }

            Assert.Null(history.Cut);
            seen.Add(history.Latents!.ToArray<float>());
        }

        Assert.Equal([[0], [0, 1], [0, 1, 2], [-1, 2, 3], [-2, 3, 4], [-3, 4, 5]], seen);
        Assert.Equal([1L, 2, 3], asked);
    }

    [Fact]
    public void Tokens_of_a_unit_do_not_grow_past_the_window_nor_its_positions_past_the_training()
    {
        var released = PipelineSettings.Released(ModelFamilies.Flux, "384p");
        var settings = (TinyPipeline.Request with { Width = 640, Height = 384, Seconds = 30 }).Resolve(released);
        var plan = settings.Sampling;
        Assert.Equal((15, 91), (plan.Window, plan.Units));
        for (var stage = 0; stage < 3; stage++)
        {
            Assert.Equal(plan.Tokens(15, stage), Enumerable.Range(0, plan.Units).Max(unit => plan.Tokens(unit, stage)));
            Assert.Equal(plan.Tokens(15, stage), plan.Tokens(90, stage));
        }

        Assert.All(Enumerable.Range(1, 90), unit => Assert.InRange(plan.HistoryOf(unit) + plan.FramesOf(unit), 2, 16));
        Assert.Equal(["the clip is longer than the 5 seconds this checkpoint was trained on: each part is made from the 15 latent frames before it"], settings.Warnings);
    }

    [Fact]
    public void A_window_is_off_unless_the_clip_is_longer_than_the_training_or_it_is_asked_for()
    {
        var released = PipelineSettings.Released(ModelFamilies.Flux, "768p") with { Width = 64, Height = 64 };
        var request = TinyPipeline.Request with { Frames = 241 };
        Assert.Null(request.Resolve(released).Sampling.Window);
        Assert.Empty(request.Resolve(released).Warnings);
        Assert.Equal(30, (request with { Frames = 249 }).Resolve(released).Sampling.Window);
        Assert.Equal(29, (request with { Frames = 257, FramesPerUnit = 2 }).Resolve(released).Sampling.Window);
        Assert.Equal(5, (request with { HistoryWindow = 5 }).Resolve(released).Sampling.Window);
        var off = (request with { Frames = 249, HistoryWindow = 0 }).Resolve(released);
        Assert.Null(off.Sampling.Window);
        Assert.Contains("it may fall apart: use a history window of at most 30", Assert.Single(off.Warnings), StringComparison.Ordinal);
    }
}
