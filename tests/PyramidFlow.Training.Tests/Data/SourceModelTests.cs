using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Tests.Data;

public sealed class SourceModelTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void A_copy_in_another_number_type_and_another_decoder_are_the_same_encoder()
    {
        var first = Identity("float32", encoder: 1, decoder: 1, ElementType.Float32);
        Assert.NotNull(first);
        Assert.Equal(first, Identity("bfloat16", encoder: 1, decoder: 1, ElementType.BFloat16));
        Assert.Equal(first, Identity("decoder", encoder: 1, decoder: 2, ElementType.Float32));
        Assert.NotEqual(first, Identity("encoder", encoder: 2, decoder: 1, ElementType.Float32));
        Assert.Null(SourceModel.OfVae(new ComponentFolder("causal_video_vae", folder.File("none"))));
    }

    private string? Identity(string name, ulong encoder, ulong decoder, ElementType type)
    {
        using var scope = new TensorScope();
        using var first = new RandomGenerator(encoder);
        using var second = new RandomGenerator(decoder);
        Directory.CreateDirectory(folder.File(name));
        SafetensorsWriter.Write(folder.File(name, "diffusion_pytorch_model.safetensors"),
        [
            .. Enumerable.Range(0, 40).Select(i => ($"encoder.{i}.weight", Tensor.Randn([30, 3], first).To(type))),
            ("decoder.weight", Tensor.Randn([30, 3], second).To(type)),
        ]);
        return SourceModel.OfVae(new ComponentFolder("causal_video_vae", folder.File(name)));
    }
}
