using System.Text.Json;
using PyramidFlow.Cli.Benchmarks;
using PyramidFlow.Cli.Commands;
using PyramidFlow.Cli.Terminal;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks.Tests;

public class BenchmarkRunTests
{
    private static readonly BenchmarkOptions Tiny = new()
    {
        Transformer = new PyramidFluxConfig(InChannels: 16, NumLayers: 1, NumSingleLayers: 2, AttentionHeadDim: 8,
            NumAttentionHeads: 2, JointAttentionDim: 12, PooledProjectionDim: 10, AxesDimsRope: [2, 2, 4]),
        Vae = CausalVideoVaeConfig.Uniform([8, 16], encoderLayers: 1, decoderLayers: 1, latentChannels: 4, groups: 4),
        // The highest stage then has more tokens than fit one masked call.
        Size = (256, 128),
        VaeSize = (32, 16),
        VaeLatentFrames = [1, 2],
        Units = [3],
        Rates = new RateSizes(Tokens: 16, Dim: 16, Channels: 8, Side: 8, CopyBytes: 1 << 16),
    };

    [Theory]
    [InlineData(ElementType.Float32, "fp32")]
    [InlineData(ElementType.BFloat16, "bf16")]
    public void Rates_and_rows_are_there_and_finite(ElementType type, string dtype)
    {
        var lines = new List<string>();
        var before = Tensor.LiveCount;

        var report = BenchmarkRun.Run(Tiny with { Types = [type], Runs = 2 }, lines.Add, TestContext.Current.CancellationToken);

        Assert.Equal(before, Tensor.LiveCount);
        Assert.All((double[])[report.Rates.GemmFp32, report.Rates.GemmBf16, report.Rates.ConvFp32, report.Rates.Copy], AssertPositive);
        Assert.Equal(type == ElementType.BFloat16, report.Rates.ConvBf16 > 0);
        Assert.Equal([null, null, null, null, null, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 2, 2, 2], report.Rows.Select(row => row.Stage));
        Assert.All(report.Rows, row =>
        {
            Assert.Equal(dtype, row.Dtype);
            Assert.Equal(row.Stage is null ? null : 3, row.Unit);
            Assert.All((double[])[row.Seconds, row.Flops, row.Share, row.PeakMb], AssertPositive);
            Assert.Contains(lines, line => line.StartsWith(row.Name, StringComparison.Ordinal));
        });
        Assert.Contains("only 3 blocks", report.Rows[^1].Name, StringComparison.Ordinal);
    }

    [Fact]
    public void A_step_is_its_prefix_and_its_unit_pass()
    {
        var report = BenchmarkRun.Run(Tiny with { Vae = null }, _ => { }, TestContext.Current.CancellationToken);

        foreach (var stage in report.Rows.GroupBy(row => row.Stage).Select(rows => rows.ToList()))
        {
            Assert.Equal(stage[2].Flops, stage[0].Flops + stage[1].Flops);
            Assert.Equal(stage[2].Seconds, stage[0].Seconds + stage[1].Seconds, 1e-9);
            // With one run: prefix, unit, both; where the unit before has left something, also the continued prefix, and it with the unit.
            Assert.Equal(stage[0].Stage < 2 ? 5 : 3, stage.Count);
            if (stage.Count == 3)
                continue;
            Assert.True(stage[3].Flops < stage[0].Flops);
            Assert.Equal(stage[4].Flops, stage[3].Flops + stage[1].Flops);
            Assert.Equal(stage[4].Seconds, stage[3].Seconds + stage[1].Seconds, 1e-9);
        }
    }

    [Fact]
    public void Units_and_element_types_come_one_after_the_other()
    {
        var report = BenchmarkRun.Run(Tiny with { Vae = null, Units = [1, 3], Types = [ElementType.Float32, ElementType.BFloat16] }, _ => { }, TestContext.Current.CancellationToken);

        Assert.Equal(2 * ((3 * 3) + 5 + 5 + 3), report.Rows.Count);
        Assert.Equal([("fp32", 1), ("fp32", 3), ("bf16", 1), ("bf16", 3)], report.Rows.Select(row => (row.Dtype, row.Unit!.Value)).Distinct());
        foreach (var (narrow, wide) in report.Rows.Where(row => row.Dtype == "bf16").Zip(report.Rows.Where(row => row.Dtype == "fp32")))
            Assert.Equal((wide.Name, wide.Stage, wide.Unit, wide.Flops), (narrow.Name, narrow.Stage, narrow.Unit, narrow.Flops));
        // A later unit has more history before it.
        Assert.All(report.Rows.Where(row => row is { Unit: 1, Dtype: "fp32" } && row.Name.Contains("prefix pass", StringComparison.Ordinal)), row =>
            Assert.True(row.Flops < report.Rows.First(later => later.Unit == 3 && later.Stage == row.Stage && later.Name == row.Name).Flops));
    }

    [Fact]
    public void Vae_goes_both_ways_and_a_single_frame_in_the_plain_form_too()
    {
        var report = BenchmarkRun.Run(Tiny with { Transformer = null, VaeLatentFrames = [1, 3] }, _ => { }, TestContext.Current.CancellationToken);

        Assert.Equal(["VAE encode 1 frame, 32x16", "VAE decode 1 frame, 32x16", "VAE decode 1 frame with zero taps, 32x16", "VAE encode 5 frames, 32x16", "VAE decode 5 frames, 32x16"],
            report.Rows.Select(row => row.Name));
        Assert.Equal(report.Rows[1].Flops, report.Rows[2].Flops);
    }

    [Theory]
    [InlineData(1, ", only 1 of 4 blocks")]
    [InlineData(null, "")]
    public void Text_encoders_say_when_they_were_cut(int? blocks, string cut)
    {
        var t5 = new T5EncoderConfig(VocabSize: 20, DModel: 8, DKv: 4, DFf: 16, NumLayers: 4, NumHeads: 2, FeedForwardProj: "gated-gelu");
        var clip = new ClipTextConfig(20, 8, 16, 2, 2, 5, 2);
        var before = Tensor.LiveCount;

        var report = BenchmarkRun.Run(Tiny with { Transformer = null, Vae = null, Text = new TextToMeasure([clip], t5, blocks) }, _ => { }, TestContext.Current.CancellationToken);

        Assert.Equal(before, Tensor.LiveCount);
        Assert.Equal(["text encoder CLIP 8 wide, 2 x 5 tokens", $"text encoder T5 8 wide{cut}, 2 x 128 tokens"], report.Rows.Select(row => row.Name));
        Assert.Equal([TextFlops.Clip(clip, 2, 5), TextFlops.T5(t5 with { NumLayers = blocks ?? 4 }, 2, 128)], report.Rows.Select(row => (long)row.Flops));
        Assert.All(report.Rows, row => AssertPositive(row.Share));
    }

    [Theory]
    [InlineData(ElementType.Float32)]
    [InlineData(ElementType.BFloat16)]
    public void A_training_step_counts_the_work_of_all_stages(ElementType type)
    {
        var before = Tensor.LiveCount;
        var training = new TrainingToMeasure(Tiny.Transformer!, Clips: 4, Units: 2);

        var report = BenchmarkRun.Run(Tiny with { Transformer = null, Vae = null, Training = training, TrainingSize = (128, 128), Types = [type], Runs = 2 }, _ => { }, TestContext.Current.CancellationToken);

        Assert.Equal(before, Tensor.LiveCount);
        // Clips of 16x16 latents: 4, 16 and 64 tokens a frame; the history has the resolution of its stage.
        var flops = ((int Rows, long Side)[])[(1, 2), (2, 4), (1, 8)];
        Assert.Equal(flops.Sum(stage => DitFlops.Training(training.Transformer, new SequenceShape(stage.Rows, 128, [new ClipSize(1, stage.Side, stage.Side), new ClipSize(1, stage.Side, stage.Side)], Causal: true))),
            report.Rows[0].Flops);
        Assert.Collection(report.Rows,
            row => Assert.StartsWith("training: forward and backward, 4 clips of 2 units, 128x128,", row.Name, StringComparison.Ordinal),
            row => Assert.StartsWith("training step, 4 clips of 2 units, 128x128,", row.Name, StringComparison.Ordinal));
        Assert.All(report.Rows, row => AssertPositive(row.Share));
        Assert.True(report.Rows[0].Seconds < report.Rows[1].Seconds);
    }

    [Fact]
    public void The_transformer_that_is_trained_has_about_100_million_weights()
    {
        using var declared = TrainingToMeasure.HundredMillion.Transformer.Build();
        Assert.InRange(declared.ParameterCount(), 95_000_000, 105_000_000);
    }

    [Fact]
    public void Tiles_go_one_by_one()
    {
        var lines = new List<string>();
        var report = BenchmarkRun.Run(Tiny with { Transformer = null, VaeSize = (96, 64), VaeTiles = new TileOptions(64) }, lines.Add, TestContext.Current.CancellationToken);

        Assert.EndsWith("tile by tile (64), 96x64", Assert.Single(report.Rows).Name, StringComparison.Ordinal);
        Assert.Contains(lines, line => line.StartsWith("tile 2 of 2,", StringComparison.Ordinal));
    }

    [Fact]
    public void A_video_tells_the_time_of_each_unit()
    {
        var before = Tensor.LiveCount;
        var video = new VideoToMeasure(ModelFamilies.Flux, 64, 64, 25, Blocks: 1) { Vae = CausalVideoVaeConfig.Uniform([8, 8, 8, 8], 1, 3, latentChannels: 16, groups: 4) };
        var report = BenchmarkRun.Run(Tiny with { Transformer = null, Vae = null, Video = video }, _ => { }, TestContext.Current.CancellationToken);

        Assert.Equal(before, Tensor.LiveCount);
        Assert.Equal([0, 1, 2, 3, null, null, null], report.Rows.Select(row => row.Unit));
        Assert.Equal(report.Rows[4].Seconds, report.Rows.Take(4).Sum(row => row.Seconds), 1e-9);
        Assert.Equal(report.Rows[4].Flops, report.Rows.Take(4).Sum(row => row.Flops), 1);
        Assert.All(report.Rows, row => Assert.StartsWith("pyramid_flux 64x64, only 1 blocks, 25 frames ", row.Name, StringComparison.Ordinal));
        Assert.All(report.Rows.Take(4), row => AssertPositive(row.PeakMb));

        using var folder = new TemporaryFolder();
        UnitPlot.Write(report, folder.File("units.svg"));
        var picture = File.ReadAllText(folder.File("units.svg"));
        Assert.Contains("fp32: seconds", picture, StringComparison.Ordinal);
        Assert.Contains("fp32: memory, GB", picture, StringComparison.Ordinal);
    }

    [Fact]
    public void The_first_unit_has_no_prefix()
    {
        var report = BenchmarkRun.Run(Tiny with { Vae = null, Units = [0] }, _ => { }, TestContext.Current.CancellationToken);

        Assert.Equal([0, 1, 2], report.Rows.Select(row => row.Stage));
        Assert.All(report.Rows, row => AssertPositive(row.Share));
    }

    [Fact]
    public void Report_prints_as_json_and_as_markdown()
    {
        var report = new BenchmarkReport("cpu", 2, "1.13.1", 1, new MachineRates(100, 200, 90, null, 12.5),
            [new BenchmarkRow("step", 2, 8, "fp32", 2.5, 100_000_000_000, 0.4, 1234.2)]);

        using var json = JsonDocument.Parse(report.ToJson());
        var rates = json.RootElement.GetProperty("rates");
        Assert.Equal([100, 200, 90, 12.5], ((string[])["gemm_fp32", "gemm_bf16", "conv_fp32", "copy"]).Select(name => rates.GetProperty(name).GetDouble()));
        var row = Assert.Single(json.RootElement.GetProperty("rows").EnumerateArray());
        Assert.Equal(["name", "stage", "unit", "dtype", "seconds", "flops", "share", "peak_mb", "kind", "rate"], row.EnumerateObject().Select(p => p.Name));
        Assert.Matches("^20[0-9]{2}-[0-9]{2}-[0-9]{2}$", json.RootElement.GetProperty("date").GetString());
        Assert.NotNull(json.RootElement.GetProperty("commit").GetString());
        Assert.Contains("| step | 2 | 8 | fp32 | 2.500 | 0.100 | 40 | 40% | 1234 |\n", report.ToMarkdown(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(100, 64, "side=width value=100 multiple=64 below=64 above=128")]
    [InlineData(64, 32, "side=height value=32 multiple=64 below=64 above=128")]
    public void Impossible_sizes_are_refused(int width, int height, string parameters) =>
        FaultAssert.Has(Assert.Throws<UsageException>(() => (Tiny with { Size = (width, height) }).Check()), "size_not_multiple", parameters);

    [Fact]
    public void Nothing_to_measure_is_refused()
    {
        BenchmarkOptions[] empty = [Tiny with { Units = [] }, Tiny with { Units = [-1] }, Tiny with { Types = [] }, Tiny with { VaeLatentFrames = [] }, Tiny with { VaeLatentFrames = [0] }];
        Assert.Equal(["no_unit", "unit_negative", "types_not_measured", "no_latent_frames", "no_latent_frames"],
            empty.Select(options => Assert.Throws<UsageException>(options.Check).Code));
    }

    [Fact]
    public void Fewer_blocks_keep_the_mixture()
    {
        Assert.Equal([(1, 0), (1, 1), (1, 2), (2, 4), (8, 16)], ((int?[])[1, 2, 3, 6, null]).Select(blocks =>
        {
            var flux = (PyramidFluxConfig)ReleasedModels.Transformer(ModelFamilies.Flux, blocks);
            return (flux.NumLayers, flux.NumSingleLayers);
        }));
        Assert.Equal([1, 6, 24], ((int?[])[1, 6, null]).Select(blocks => ReleasedModels.Transformer(ModelFamilies.Sd3, blocks).Blocks));
        FaultAssert.Is(Assert.Throws<UsageException>(() => ReleasedModels.Transformer(ModelFamilies.Flux, 25)), "blocks_out_of_range", ("blocks", 24L), ("value", 25));
        FaultAssert.Is(Assert.Throws<UsageException>(() => ReleasedModels.Text(blocks: 25)), "blocks_out_of_range", ("model", "T5"), ("blocks", 24L), ("value", 25));
        Assert.Equal([1, 2], ((ModelFamily[])[ModelFamilies.Flux, ModelFamilies.Sd3]).Select(family => ReleasedModels.Text(family).Clips.Count));
    }

    private static void AssertPositive(double value) => Assert.True(double.IsFinite(value) && value > 0, $"{value}");
}
