using PyramidFlow.Generation;
using static PyramidFlow.Tests.Generation.TinyPipeline;

namespace PyramidFlow.Tests.Generation;

public class PreviewTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    [Fact]
    public async Task Previews_have_the_size_of_their_stage_and_change_nothing()
    {
        using var pipeline = tiny.Load(new PipelineOptions { PreviewEvery = TimeSpan.Zero });
        var reports = new Reports<GenerationProgress>();
        var frames = Bytes(await Collect(pipeline.GenerateAsync(Request with { Frames = 9 }, reports, Cancel)));

        var shown = reports.All.Where(report => report.Preview is not null).ToList();
        Assert.Equal((GenerationPhase.Denoising, 0, 0, 1), (shown[0].Phase, shown[0].Unit, shown[0].Stage, shown[0].Step));
        Assert.All(shown, report => Assert.Equal(Side >> (report.Stages - 1 - report.Stage), report.Preview!.Width));
        AssertSame(await tiny.Frames(Request with { Frames = 9 }), frames);
    }

    [Fact]
    public async Task Without_being_asked_for_there_are_none()
    {
        var reports = new Reports<GenerationProgress>();
        await Collect(tiny.Pipeline.GenerateAsync(Request with { Frames = 9 }, reports, Cancel));

        Assert.All(reports.All, report => Assert.Null(report.Preview));
    }
}
