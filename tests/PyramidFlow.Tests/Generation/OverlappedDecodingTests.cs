using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Tests.Models.Vae;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>Decoding beside sampling changes when frames come, not which.</summary>
public sealed class OverlappedDecodingTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>
{
    private static readonly PipelineOptions Overlapped = new() { OverlapDecoding = true };

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public static TheoryData<GenerationOptions> Requests => new(
        TinyPipeline.Request with { Frames = 17, Count = 2 },
        TinyPipeline.Request with { Frames = 1 },
        TinyPipeline.Request with { Video = TinyPipeline.Video(25), Frames = 16 },
        TinyPipeline.Request with { Video = TinyPipeline.Video(9), Frames = 8, NewFramesOnly = true },
        TinyPipeline.Request with { Frames = 41, HistoryWindow = 2 });

    [Theory]
    [MemberData(nameof(Requests), DisableDiscoveryEnumeration = true)]
    public async Task Frames_are_those_of_decoding_in_turn(GenerationOptions request)
    {
        using var overlapped = tiny.Load(Overlapped);
        var expected = await tiny.Chunks(request);
        var actual = await TinyPipeline.Collect(overlapped.GenerateAsync(request, cancellationToken: Cancel));
        TinyPipeline.AssertEqual(expected, actual);
    }

    [Fact]
    public async Task Progress_comes_from_one_thread_grows_and_tells_of_every_unit()
    {
        using var overlapped = tiny.Load(Overlapped);
        var told = new List<(int Thread, GenerationProgress Report)>();
        var teller = new ReportTo(value => told.Add((Environment.CurrentManagedThreadId, value)));
        await TinyPipeline.Collect(overlapped.GenerateAsync(TinyPipeline.Request with { Frames = 33 }, teller, Cancel));
        Assert.Single(told.Select(each => each.Thread).Distinct());
        Assert.Equal(told.Select(each => each.Report.Fraction).Order(), told.Select(each => each.Report.Fraction));
        Assert.Equal(1, told[^1].Report.Fraction, 1e-9);
        Assert.Equal([0, 1, 2, 3, 4], told.Where(each => each.Report.Phase == GenerationPhase.Decoding).Select(each => each.Report.Unit).Distinct().Order());
    }

    [Fact]
    public async Task A_run_that_is_left_early_stops_and_leaves_nothing()
    {
        using var overlapped = tiny.Load(Overlapped);
        await TinyPipeline.Collect(overlapped.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel));
        var live = Tensor.LiveCount;
        await foreach (var chunk in overlapped.GenerateAsync(TinyPipeline.Request with { Frames = 121 }, cancellationToken: Cancel))
        {
            if (chunk.FirstFrame > 0)
                break;
        }

        Assert.Equal(live, Tensor.LiveCount);
        Assert.NotEmpty(await TinyPipeline.Collect(overlapped.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel)));
    }

    [Fact]
    public void What_decoding_fails_with_stops_sampling_and_is_thrown_there()
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        var settings = (TinyPipeline.Request with { Frames = 9 }).Resolve(tiny.Pipeline.Settings);
        var latents = SmallVae.Random(1, vae.Config.EncoderOutChannels, 1, settings.Height / 8, settings.Width / 8);
        var live = Tensor.LiveCount;
        using (var decoder = new UnitDecoder(vae, new LatentNormalization(0, 1, 0, 1)))
        using (var output = new ClipOutput(settings, 0, decoder, Overlapped, _ => throw new InvalidDataException("no place for it")))
        {
            using var decoding = new OverlappedDecoding(output, new ProgressMeter(settings.Sampling, false, true, 0, 1, null), Cancel);
            decoding.Add(0, latents);
            decoding.Add(1, latents);
            Assert.True(decoding.Stopped.WaitHandle.WaitOne(TimeSpan.FromMinutes(1)));
            Assert.Equal("no place for it", Assert.Throws<InvalidDataException>(decoding.ThrowIfFailed).Message);
            Assert.Throws<InvalidDataException>(decoding.Complete);
        }

        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void The_work_of_both_is_counted_where_all_models_are_in_memory()
    {
        var model = PlannedModel.Released(ModelFamilies.Flux, "384p");
        var settings = new GenerationOptions { Prompt = "a cat", Frames = 25 }.Resolve(model.Settings);
        var (sequential, none) = (Memory(new PipelineOptions { Offload = Offload.None }), Memory(Overlapped with { Offload = Offload.None }));
        var models = sequential.Transformer + sequential.Decoder - none.Peak;
        Assert.Equal(none.Transformer, none.Decoder);
        Assert.InRange(models, RunMemory.Base, Math.Min(sequential.Transformer, sequential.Decoder));
        Assert.Equal(Memory(new PipelineOptions { Offload = Offload.Model }), Memory(Overlapped with { Offload = Offload.Model }));
        Assert.True(Overlapped.Overlaps(settings.Sampling));
        Assert.False(Overlapped.Overlaps(new GenerationOptions { Prompt = "a cat", Frames = 1 }.Resolve(model.Settings).Sampling));

        RunMemory Memory(PipelineOptions options) => RunMemory.Of(model, settings, ElementType.BFloat16, options);
    }

    [Theory]
    [InlineData(100, true)]
    [InlineData(0, false)]
    public void Where_memory_is_too_small_for_both_a_budget_has_them_take_turns(int spare, bool expected)
    {
        var model = PlannedModel.Released(ModelFamilies.Flux, "384p");
        var settings = new GenerationOptions { Prompt = "a cat", Frames = 25 }.Resolve(model.Settings);
        var inTurn = new PipelineOptions { Offload = Offload.None, Tiles = new TileOptions(256), Sampler = new SamplerOptions { HistoryBytes = 0 } };
        var budget = RunMemory.Of(model, settings, ElementType.BFloat16, inTurn).Peak + (spare * 1_000_000_000L);
        var placed = MemoryBudget.Fit(model, settings, ElementType.BFloat16, inTurn with { OverlapDecoding = true, MaxMemory = budget }, budget);
        Assert.Equal(inTurn with { OverlapDecoding = expected, MaxMemory = budget }, placed);
        Assert.Equal(expected, MemoryBudget.Place(model, settings, ElementType.BFloat16, inTurn with { OverlapDecoding = true }, budget, budget).OverlapDecoding);
        Assert.Equal(Refusal(inTurn), Refusal(inTurn with { OverlapDecoding = true }));

        string Refusal(PipelineOptions options) =>
            Assert.Throws<RequestException>(() => MemoryBudget.Fit(model, settings, ElementType.BFloat16, options, 1_000_000_000)).Message;
    }
}
