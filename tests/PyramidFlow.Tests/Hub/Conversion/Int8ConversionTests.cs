using PyramidFlow.Models;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Tests.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Hub.Conversion;

public sealed class Int8ConversionTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    public async Task A_whole_checkpoint_becomes_smaller_says_what_it_lost_and_still_runs(string layout)
    {
        var (plain, rounded, reports) = Convert("", layout);
        Assert.Equal(["diffusion_transformer_384p", layout == "sd3" ? "text_encoder_3" : "text_encoder_2"], reports.Select(report => report.Split(':')[0]));
        Assert.All(reports, report => Assert.Matches(@" matrices as int8, relative error 0\.[0-9]+% on average and [01]\.[0-9]+% at most \(.*weight\)$", report));
        var report = CheckpointReport.Create(CheckpointFolder.Open(rounded), cancellationToken: TestContext.Current.CancellationToken);
        Assert.All(report.Variants, variant => Assert.Empty(variant.Faults));
        Assert.Equal(2, report.Components.Count(part => part.Types.Contains("Int8")));
        Assert.True(report.Components.Sum(part => part.Bytes) < CheckpointReport.Create(CheckpointFolder.Open(plain), cancellationToken: TestContext.Current.CancellationToken).Components.Sum(part => part.Bytes));

        var expected = await Make(plain, Offload.None);
        var actual = await Make(rounded, Offload.None);
        Assert.Equal(expected.Length, actual.Length);
        Assert.NotEqual(expected, actual);
        Assert.InRange(expected.Zip(actual).Average(pair => Math.Abs(pair.First - pair.Second)), 0, 4);
        Assert.Equal(actual, await Make(rounded, Offload.Sequential));
    }

    [Fact]
    public void The_int8_file_of_another_model_is_refused_before_weights_are_read()
    {
        var (_, rounded, _) = Convert("flux", "miniflux");
        var (_, other, _) = Convert("sprites", RandomLayout.Sprites);
        var file = Directory.GetFiles(Path.Combine(other, "diffusion_transformer"), "*.safetensors").Single();
        File.Copy(file, Directory.GetFiles(Path.Combine(rounded, "diffusion_transformer_384p"), "*.safetensors").Single(), overwrite: true);
        var error = Assert.Throws<CheckpointException>(() => VideoPipeline.Load(rounded));
        FaultAssert.Is(error, "config_and_weights_disagree");
    }

    [Fact]
    public void A_matrix_that_would_lose_much_keeps_its_numbers()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(3);
        var even = Tensor.Randn([32, 1024], generator);
        var spiked = even.Clone();
        spiked.Narrow(1, 0, 1).MulInPlace(30);
        SafetensorsWriter.Write(folder.File("in.safetensors"),
            [("transformer_blocks.0.even.weight", even), ("transformer_blocks.0.spiked.weight", spiked), ("proj_out.weight", even)]);
        var reports = new List<string>();
        CheckpointConversion.Convert(folder.File("in.safetensors"), folder.File("out"), new ConversionOptions { Int8 = true, Type = ElementType.BFloat16, Report = reports.Add },
            cancellationToken: Cancel);
        using var after = WeightsFile.Open(folder.File("out"));
        Assert.Equal(["BFloat16 proj_out.weight", "BFloat16 transformer_blocks.0.spiked.weight", "Float32 transformer_blocks.0.even.weight_scale", "Int8 transformer_blocks.0.even.weight"],
            after.Keys.Select(key => $"{after.Describe(key).Type} {key}").Order(StringComparer.Ordinal));
        Assert.Contains("1 of 2 matrices as int8", Assert.Single(reports), StringComparison.Ordinal);
    }

    private (string Plain, string Rounded, List<string> Reports) Convert(string name, string layout)
    {
        var (plain, rounded, reports) = (Path.Combine(folder.Path, name + "plain"), Path.Combine(folder.Path, name + "int8"), new List<string>());
        RandomCheckpoint.Write(plain, new RandomOptions(layout, RandomScale.Tiny), cancellationToken: Cancel);
        Assert.Empty(CheckpointConversion.Convert(plain, rounded, new ConversionOptions { Int8 = true, Report = reports.Add }, cancellationToken: Cancel));
        return (plain, rounded, reports);
    }

    private static async Task<byte[]> Make(string model, Offload offload)
    {
        using var pipeline = VideoPipeline.Load(model, new PipelineOptions { Offload = offload });
        return TinyPipeline.Bytes(await TinyPipeline.Collect(pipeline.GenerateAsync(new GenerationOptions { Prompt = "a cat", Seed = 1 }, cancellationToken: Cancel)));
    }
}
