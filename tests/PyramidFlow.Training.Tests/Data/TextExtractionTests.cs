using PyramidFlow.Models;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public sealed class TextExtractionTests : IDisposable
{
    private readonly MediaFolder folder = new();

    private static CancellationToken Ct => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("miniflux")]
    [InlineData("sd3")]
    public void Features_of_a_file_are_those_of_its_caption_alone(string layout)
    {
        var model = folder.File("model");
        RandomCheckpoint.Write(model, new RandomOptions(layout, RandomScale.Tiny, 3), progress: null, Ct);
        using var encoder = PromptEncoder.Load(CheckpointFolder.Open(model), ElementType.Float32);
        var annotations = folder.Annotate(new { text = "a red ball" }, new { text = "a much longer caption of a blue ball" }, new { text = "a red ball" }, new { image = "b.png" });
        var faults = new FaultLog();
        var target = new ExtractionTarget(annotations, folder.File("out.jsonl"));

        var first = new TextExtraction(encoder, ElementType.Float32, 2, faults).Run(target, cancellationToken: Ct);
        var second = new TextExtraction(encoder, ElementType.Float32, 2, faults).Run(target, cancellationToken: Ct);

        Assert.Equal((3, 0, 3), (first.Made, first.Kept, first.Lines));
        Assert.Equal((0, 3), (second.Made, second.Kept));
        Assert.Equal(4, Assert.Single(faults.Faults).Line);
        var lines = MediaFolder.Read(folder.File("out.jsonl"));
        Assert.Equal(lines[0].TextFeatures, lines[2].TextFeatures);
        foreach (var (text, path) in lines.Select(line => (line.Text!, line.TextFeatures!)).Append(("", folder.File("out-text", TextExtraction.EmptyName))))
            AssertFeatures(encoder, text, TextItemFile.Open(path));
    }

    [Fact]
    public void Features_that_are_not_finite_are_an_error_and_never_written()
    {
        var model = folder.File("model");
        RandomCheckpoint.Write(model, new RandomOptions("miniflux", RandomScale.Tiny, 3), progress: null, Ct);
        using var encoder = PromptEncoder.Load(CheckpointFolder.Open(model), ElementType.Float32);
        using var scope = new TensorScope();
        encoder.Models[^1].NamedParameters().Single(p => p.Key == "encoder.final_layer_norm.weight").Parameter.Value.Fill(double.NaN);
        var annotations = folder.Annotate(new { text = "a red ball" });
        var target = new ExtractionTarget(annotations, folder.File("out.jsonl"));
        var error = Assert.Throws<NonFiniteException>(() => new TextExtraction(encoder, ElementType.Float32, 2, new FaultLog()).Run(target, cancellationToken: Ct));
        Assert.Equal(ModelPart.Text, error.Part);
        Assert.Empty(Directory.GetFiles(folder.File("out-text")));
    }

    private static void AssertFeatures(PromptEncoder encoder, string text, TextItem item)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var alone = encoder.Encode([text]);
        Assert.Equal(alone.Lengths[0], item.Length);
        AssertClose(alone.Tokens.ToArray<float>(), item.Tokens);
        AssertClose(alone.Pooled.ToArray<float>(), item.Pooled);
    }

    private static void AssertClose(float[] expected, float[] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        var error = expected.Zip(actual).Max(pair => Math.Abs(pair.First - pair.Second)) / expected.Max(Math.Abs);
        TestContext.Current.TestOutputHelper!.WriteLine($"relative error {error:G3}");
        Assert.InRange(error, 0, 1e-5);
    }
}
