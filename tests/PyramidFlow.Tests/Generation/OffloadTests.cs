using PyramidFlow.Models;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Generation;

public sealed class OffloadTests : IDisposable
{
    private static readonly GenerationOptions Request = new() { Prompt = "a cat", Seed = 7 };
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData("pyramid_flux", ElementType.Float32, Offload.Model)]
    [InlineData("pyramid_flux", ElementType.Float32, Offload.Sequential)]
    [InlineData("pyramid_flux", ElementType.BFloat16, Offload.Sequential)]
    [InlineData("pyramid_mmdit", ElementType.BFloat16, Offload.Model)]
    [InlineData("pyramid_mmdit", ElementType.Float32, Offload.Sequential)]
    public async Task Frames_are_the_same_to_the_bit_and_no_tensor_is_left(string familyName, ElementType type, Offload offload)
    {
        var family = ModelFamilies.Get(familyName);
        TinyCheckpoint.Write(folder, family);
        var expected = await Make(type, Offload.None);
        Assert.Equal(expected, await Make(type, offload));
        var live = Tensor.LiveCount;
        Assert.Equal(expected, await Make(type, offload));
        Assert.Equal(live, Tensor.LiveCount);
    }

    [Theory]
    [InlineData(Offload.None, true, true)]
    [InlineData(Offload.Model, false, false)]
    [InlineData(Offload.Sequential, false, false)]
    public void Models_make_room_for_one_another(Offload offload, bool textStays, bool transformerStays)
    {
        TinyCheckpoint.Write(folder);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var models = PipelineModels.Load(CheckpointFolder.Open(folder.Path), new PipelineOptions { Offload = offload, Type = ElementType.BFloat16, Device = TestDevice.Current }, null);
        models.Arrange(offload);
        Assert.False(IsHeld([.. models.Text.Models]));
        using var book = models.Prompted(_ => { });
        book.Text("a cat", null);
        Assert.True(IsHeld([.. models.Text.Models]));
        models.MakeRoom(models.Transformer);
        Assert.Equal(textStays, IsHeld([.. models.Text.Models]));
        Assert.Equal(offload == Offload.None, IsHeld(models.Transformer));
        foreach (var (_, parameter) in models.Transformer.NamedParameters())
            Assert.Equal(ElementType.BFloat16, parameter.Value.Type);
        models.MakeRoom(models.Vae);
        Assert.Equal(transformerStays, IsHeld(models.Transformer));
    }

    private static bool IsHeld(params Module[] models) => models.SelectMany(model => model.NamedParameters()).Any(named => named.Parameter.HasValue);

    private async Task<byte[]> Make(ElementType type, Offload offload)
    {
        using var pipeline = VideoPipeline.Load(folder.Path, new PipelineOptions { Type = type, Offload = offload, Device = TestDevice.Current });
        return TinyPipeline.Bytes(await TinyPipeline.Collect(pipeline.GenerateAsync(Request, cancellationToken: TestContext.Current.CancellationToken)));
    }
}
