using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Models.Vae;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

/// <summary>Decoding tile by tile and doing with less memory change when frames come, not which.</summary>
public sealed class TileByTileTests(TinyPipeline tiny) : IClassFixture<TinyPipeline>, IDisposable
{
    private static readonly TileOptions Tiles = new(32);

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => TorchRuntime.LimitMemory(0);

    public static TheoryData<GenerationOptions> Requests => new(
        TinyPipeline.Request with { Frames = 17 },
        TinyPipeline.Request with { Video = TinyPipeline.Video(17), Frames = 16 },
        TinyPipeline.Request with { Video = TinyPipeline.Video(9), Frames = 8, NewFramesOnly = true },
        TinyPipeline.Request with { Frames = 33, HistoryWindow = 2 });

    [Theory]
    [MemberData(nameof(Requests), DisableDiscoveryEnumeration = true)]
    public async Task Frames_and_their_pieces_are_those_of_decoding_unit_by_unit(GenerationOptions request)
    {
        using var streaming = tiny.Load(new PipelineOptions { Tiles = Tiles, DecodeWindow = 2 });
        using var byTile = tiny.Load(new PipelineOptions { Tiles = Tiles, DecodeWindow = 2, TileByTile = true });
        var expected = await TinyPipeline.Collect(streaming.GenerateAsync(request, cancellationToken: Cancel));
        var actual = await TinyPipeline.Collect(byTile.GenerateAsync(request, cancellationToken: Cancel));
        TinyPipeline.AssertEqual(expected, actual);
    }

    [Fact]
    public void Latents_are_decoded_tile_by_tile_too()
    {
        using var streaming = tiny.Load(new PipelineOptions { Tiles = Tiles });
        using var byTile = tiny.Load(new PipelineOptions { Tiles = Tiles, TileByTile = true });
        using var latents = tiny.Pipeline.GenerateLatents(TinyPipeline.Request with { Frames = 17 }, cancellationToken: Cancel);
        Assert.Equal(streaming.Decode(latents), byTile.Decode(latents));
    }

    [Fact]
    public async Task A_run_that_is_stopped_while_tiles_are_decoded_leaves_nothing()
    {
        using var byTile = tiny.Load(new PipelineOptions { Tiles = Tiles, TileByTile = true });
        await TinyPipeline.Collect(byTile.GenerateAsync(TinyPipeline.Request, cancellationToken: Cancel));
        var live = Tensor.LiveCount;
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(Cancel);
        var seen = -1;
        var stopper = new ReportTo(value =>
        {
            // Cancels when the second tile begins, and sees no further one.
            if (value is not { Phase: GenerationPhase.Decoding, Steps: > 0 })
                return;
            seen = value.Step;
            if (seen == 1)
                stop.Cancel();
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => TinyPipeline.Collect(byTile.GenerateAsync(TinyPipeline.Request, stopper, stop.Token)));
        Assert.Equal(1, seen);
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void Tiles_must_be_there_and_weighted()
    {
        FaultAssert.Is(Assert.Throws<RequestException>(() => tiny.Load(new PipelineOptions { TileByTile = true })), "tiles_not_weighted");
        var released = new PipelineOptions { TileByTile = true, Tiles = Tiles with { Blend = TileBlend.Sequential } };
        FaultAssert.Is(Assert.Throws<RequestException>(() => tiny.Load(released)), "tiles_not_weighted");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void What_is_too_large_for_memory_is_decoded_again_in_smaller_tiles(bool byTile)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        Tensor[] pieces = SmallVae.Random(1, vae.Config.EncoderOutChannels, 3, 24, 24).Chunk(3, 2);
        var expected = Frames(new TileOptions(128), [], out _);
        Frames(new TileOptions(128), [], out var fits);
        Frames(byTile ? new TileOptions(192) : null, [], out var most);
        Assert.True(most > 1.3 * fits, $"{most} bytes are not much more than {fits}");
        var warnings = new List<string>();
        TorchRuntime.LimitMemory(TorchRuntime.CpuMemory.InUse + (long)(1.1 * fits));
        var actual = Frames(byTile ? new TileOptions(192) : null, warnings, out _);
        TorchRuntime.LimitMemory(0);
        Assert.Contains("in tiles of 128 pixels", warnings[^1], StringComparison.Ordinal);
        // A stream's first frames may have fitted as they were.
        Assert.Equal(expected[^(3 * 8 * 192 * 192)..], actual[^(3 * 8 * 192 * 192)..]);

        float[] Frames(TileOptions? tiles, List<string> warnings, out long held)
        {
            using var decoder = new UnitDecoder(vae, new LatentNormalization(0, 1, 0, 1), tiles, warn: warnings.Add);
            var before = TorchRuntime.CpuMemory.InUse;
            TorchRuntime.ResetPeak();
            using var inner = new TensorScope();
            var numbers = new List<float>();
            foreach (var frames in byTile ? decoder.DecodeAll(pieces) : pieces.Select((piece, i) => decoder.Decode(piece, isEnd: i == pieces.Length - 1)))
            {
                numbers.AddRange(frames.ToArray<float>());
                frames.Dispose();
            }

            held = TorchRuntime.CpuMemory.Peak - before;
            return [.. numbers];
        }
    }

    [Fact]
    public void What_never_fits_is_a_clear_error()
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var vae = SmallVae.Create();
        var latents = SmallVae.Random(1, vae.Config.EncoderOutChannels, 1, 24, 24);
        using var decoder = new UnitDecoder(vae, new LatentNormalization(0, 1, 0, 1));
        var live = Tensor.LiveCount;
        TorchRuntime.LimitMemory(TorchRuntime.CpuMemory.InUse + 50_000);
        var error = Assert.Throws<TorchMemoryException>(() => decoder.Decode(latents));
        TorchRuntime.LimitMemory(0);
        Assert.Contains("with tiles as small as can be: give a memory budget", error.Message, StringComparison.Ordinal);
        Assert.Equal(live, Tensor.LiveCount);
        Assert.Equal(1, decoder.Decode(latents, isEnd: true).Size(2));
        Assert.Contains("has ended", Assert.Throws<InvalidOperationException>(() => decoder.Decode(latents)).Message, StringComparison.Ordinal);
    }
}
