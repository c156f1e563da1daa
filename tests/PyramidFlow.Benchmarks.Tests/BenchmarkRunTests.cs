using System.Text.Json;
using PyramidFlow.Hub;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;
using PyramidFlow.Vae;

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
        Unit = 3,
        Rates = new RateSizes(Tokens: 16, Dim: 16, Channels: 8, Side: 8, CopyBytes: 1 << 16),
    };

    [Theory]
    [InlineData(ElementType.Float32, "fp32")]
    [InlineData(ElementType.BFloat16, "bf16")]
    public void Rates_and_rows_are_there_and_finite(ElementType type, string dtype)
    {
        var lines = new List<string>();
        var before = Tensor.LiveCount;

        var report = BenchmarkRun.Run(Tiny with { Type = type, Runs = 2 }, lines.Add, TestContext.Current.CancellationToken);

        Assert.Equal(before, Tensor.LiveCount);
        Assert.All((double[])[report.Rates.GemmFp32, report.Rates.GemmBf16, report.Rates.ConvFp32, report.Rates.Copy], AssertPositive);
        Assert.Equal(type == ElementType.BFloat16, report.Rates.ConvBf16 > 0);
        Assert.Equal([null, null, null, 0, 0, 0, 1, 1, 1, 2, 2, 2], report.Rows.Select(row => row.Stage));
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

        foreach (var stage in report.Rows.Chunk(3))
        {
            Assert.Equal(stage[2].Flops, stage[0].Flops + stage[1].Flops);
            Assert.Equal(stage[2].Seconds, stage[0].Seconds + stage[1].Seconds, 1e-9);
        }
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
    public void The_first_unit_has_no_prefix()
    {
        var report = BenchmarkRun.Run(Tiny with { Vae = null, Unit = 0 }, _ => { }, TestContext.Current.CancellationToken);

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
        Assert.Equal(["name", "stage", "unit", "dtype", "seconds", "flops", "share", "peak_mb"], row.EnumerateObject().Select(p => p.Name));
        Assert.Contains("| step | 2 | 8 | fp32 | 2.500 | 0.100 | 40 | 40% | 1234 |\n", report.ToMarkdown(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(100, 64, "width 100 is not a multiple of 64: use 64 or 128")]
    [InlineData(64, 32, "height 32 is not a multiple of 64: use 64 or 128")]
    public void Impossible_sizes_are_refused(int width, int height, string words) =>
        Assert.Equal(words, Assert.Throws<ArgumentException>(() => (Tiny with { Size = (width, height) }).Check()).Message);

    [Fact]
    public void Fewer_blocks_keep_the_mixture()
    {
        Assert.Equal([(1, 0), (1, 1), (1, 2), (2, 4), (8, 16)], ((int?[])[1, 2, 3, 6, null]).Select(blocks =>
        {
            var flux = (PyramidFluxConfig)ReleasedModels.Transformer(ModelFamily.Flux, blocks);
            return (flux.NumLayers, flux.NumSingleLayers);
        }));
        Assert.Equal([1, 6, 24], ((int?[])[1, 6, null]).Select(blocks => ReleasedModels.Transformer(ModelFamily.Mmdit, blocks).Blocks));
        Assert.Throws<ArgumentException>(() => ReleasedModels.Transformer(ModelFamily.Flux, 25));
    }

    private static void AssertPositive(double value) => Assert.True(double.IsFinite(value) && value > 0, $"{value}");
}
