using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Memory;

public class MemoryBudgetTests
{
    private const long GB = 1_000_000_000;

    private static readonly PlannedModel Model = PlannedModel.Released(ModelFamilies.Flux, "384p");

    [Theory]
    [InlineData(200, Offload.None)]
    [InlineData(16, Offload.Model)]
    [InlineData(8, Offload.Model)]
    [InlineData(4, Offload.Sequential)]
    public void What_costs_least_time_is_taken_of_what_fits(int gigabytes, Offload expected)
    {
        var options = Fit(gigabytes * GB);
        Assert.Equal(expected, options.Offload);
        Assert.True(RunMemory.Of(Model, Settings(), ElementType.BFloat16, options).Peak <= gigabytes * GB);
        if (gigabytes == 200)
            Assert.Equal((null, 4, 2L << 30, 256), (options.Tiles, options.DecodeWindow, options.Sampler.PrefixBytes, options.Sampler.Attention.QueryBlock));
        if (gigabytes == 8)
            Assert.NotNull(options.Tiles);
    }

    [Fact]
    public void What_was_asked_for_stays()
    {
        var asked = new PipelineOptions { Offload = Offload.Sequential, Tiles = new TileOptions(192, 0.3), DecodeWindow = 2 };
        var options = Fit(100 * GB, asked);
        Assert.Equal((Offload.Sequential, new TileOptions(192, 0.3), 2), (options.Offload, options.Tiles, options.DecodeWindow));
    }

    [Fact]
    public void A_budget_that_is_too_small_is_told_the_least_that_works()
    {
        var error = TooSmall(() => Fit(1 * GB), "smaller_frames");
        Assert.Equal(1 * GB, error.Parameters["budget_bytes"]);
        Assert.Matches(@"^640x384 with 121 frames needs at least \d+\.\d GB and may take 1\.0 GB: allow more, or ", error.Message);
        var least = (long)error.Parameters["needed_bytes"]!;
        Fit(least);
        TooSmall(() => Fit(least - 1));
        TooSmall(() => Fit(4 * GB, new PipelineOptions { Offload = Offload.Model }), "sequential");
    }

    [Theory]
    [InlineData(9, 5)]
    [InlineData(121, 12)]
    public void Large_frames_fit_tile_by_tile_unless_a_cut_history_needs_frames_meanwhile(int frames, int gigabytes)
    {
        var request = new GenerationOptions { Prompt = "p", Width = 1280, Height = 768, Frames = frames };
        var options = Fit(request);
        Assert.True(options.TileByTile);
        Assert.True(RunMemory.Of(Model, request.Resolve(Model.Settings), ElementType.BFloat16, options).Peak <= gigabytes * GB);
        TooSmall(() => Fit(request with { HistoryWindow = 1 }));
        Assert.False(Fit(request with { Width = 128, Height = 128 }).TileByTile);

        PipelineOptions Fit(GenerationOptions of) =>
            MemoryBudget.Fit(Model, of.Resolve(Model.Settings), ElementType.BFloat16, new PipelineOptions { Offload = Offload.Auto }, gigabytes * GB);
    }

    [Fact]
    public void Int8_is_named_where_it_lets_a_run_fit_or_spares_it_to_hold_one_block_at_a_time()
    {
        var auto = new PipelineOptions { Offload = Offload.Auto };
        Assert.Equal("convert it to int8 (models convert pyramid-flow-miniflux pyramid-flow-miniflux-int8 --int8), which fits with --offload model", Int8(Model, auto, 4));
        Assert.Null(Int8(Model, auto, 200));
        Assert.Null(Int8(Model.AsInt8!, auto, 4));
        Assert.Null(Model.AsInt8!.AsInt8);
        TooSmall(() => Fit(4 * GB, auto with { Offload = Offload.Model }), "int8");
        Assert.Equal(RunMemory.Base, TooSmall(() => Fit(GB / 10)).Parameters["program_bytes"]);
        Assert.Equal("smaller_model smaller_frames", TooSmall(() => Fit(1 * GB)).Parameters["remedies"]);

        static string? Int8(PlannedModel model, PipelineOptions options, long gigabytes) =>
            MemoryBudget.Int8Conversion(model, Settings(), ElementType.BFloat16, options, gigabytes * GB);
    }

    [Fact]
    public void Without_a_budget_only_the_place_of_the_weights_is_chosen()
    {
        Assert.Equal(Offload.None, Place(500 * GB, 500 * GB).Offload);
        Assert.NotEqual(Offload.None, Place(20 * GB, 500 * GB).Offload);
        Assert.Equal(new PipelineOptions { Offload = Offload.Sequential, Sampler = new SamplerOptions { HistoryBytes = 0 } }, Place(1, 500 * GB));
        FaultAssert.Is(Assert.Throws<RequestException>(() => Place(1, 2 * GB)), "machine_too_small", ("place", "this machine"));
        var onGpu = new PipelineOptions { Offload = Offload.Auto, Device = new Device(DeviceType.Cuda, 1) };
        FaultAssert.Is(Assert.Throws<RequestException>(() => MemoryBudget.Place(Model, Settings(), ElementType.BFloat16, onGpu, 1, 2 * GB)), "machine_too_small", ("place", "cuda:1"));
    }

    [Fact]
    public void The_history_cache_takes_what_is_left_and_no_more_than_was_asked_for()
    {
        var all = Fit(200 * GB);
        var whole = all.Sampler.HistoryBytes!.Value;
        Assert.InRange(whole, 5 * GB, 12 * GB);
        Assert.Equal(whole, Place(200 * GB, 200 * GB).Sampler.HistoryBytes);

        var without = RunMemory.Of(Model, Settings(), ElementType.BFloat16, all with { Sampler = all.Sampler with { HistoryBytes = 0 } });
        Assert.Equal(without.Transformer + whole, RunMemory.Of(Model, Settings(), ElementType.BFloat16, all).Transformer);
        Assert.Equal(without.Decoder + whole, RunMemory.Of(Model, Settings(), ElementType.BFloat16, all).Decoder);

        var budget = without.Peak + (2 * GB);
        var some = Fit(budget, all with { Sampler = new SamplerOptions() });
        Assert.InRange(some.Sampler.HistoryBytes!.Value, 1, 2 * GB);
        Assert.True(RunMemory.Of(Model, Settings(), ElementType.BFloat16, some).Peak <= budget);
        Assert.Equal(0, Fit(200 * GB, new PipelineOptions { Sampler = new SamplerOptions { HistoryBytes = 0 } }).Sampler.HistoryBytes);
        Assert.InRange(Fit(200 * GB, new PipelineOptions { Sampler = new SamplerOptions { HistoryBytes = GB } }).Sampler.HistoryBytes!.Value, 1, GB);
    }

    [Fact]
    public async Task Frames_that_do_not_fit_are_refused_before_work_and_those_that_do_are_made()
    {
        using var folder = new TemporaryFolder();
        TinyCheckpoint.Write(folder);
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { MaxMemory = 900_000_000, Offload = Offload.Auto });
        using var free = VideoPipeline.Load(folder.Path);
        var request = new GenerationOptions { Prompt = "a cat", Seed = 3 };
        var error = TooSmall(() => pipeline.GenerateAsync(request with { Width = 4096, Height = 4096 }, cancellationToken: TestContext.Current.CancellationToken));
        Assert.Equal(900_000_000L, error.Parameters["budget_bytes"]);
        Assert.Equal(await Frames(free), await Frames(pipeline));

        async Task<byte[]> Frames(VideoPipeline with) =>
            TinyPipeline.Bytes(await TinyPipeline.Collect(with.GenerateAsync(request, cancellationToken: TestContext.Current.CancellationToken)));
    }

    private static GenerationSettings Settings() => new GenerationOptions { Prompt = "p" }.Resolve(Model.Settings);

    private static PipelineOptions Fit(long bytes, PipelineOptions? asked = null) =>
        MemoryBudget.Fit(Model, Settings(), ElementType.BFloat16, asked ?? new PipelineOptions { Offload = Offload.Auto }, bytes);

    private static PipelineOptions Place(long available, long total) =>
        MemoryBudget.Place(Model, Settings(), ElementType.BFloat16, new PipelineOptions { Offload = Offload.Auto }, available, total);

    // The refusal of a budget that names, among others, this way out.
    private static RequestException TooSmall(Action action, string remedy = "")
    {
        var error = Assert.Throws<RequestException>(action);
        FaultAssert.Is(error, "budget_too_small");
        Assert.Contains(remedy, error.Parameters.GetValueOrDefault("remedies") as string ?? "", StringComparison.Ordinal);
        return error;
    }
}
