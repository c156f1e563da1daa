using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch.Tests;

public sealed class Int8WeightTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Rounding_keeps_every_number_within_half_a_step_of_its_row()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        var weight = Tensor.Randn([8, 64], generator) * Tensor.Arange(0, 8).Unsqueeze(1);
        var rounded = Int8Weight.Quantize(weight);
        Assert.Equal((ElementType.Int8, ElementType.Float32), (rounded.Codes.Type, rounded.Scales.Type));
        // Half a step, and what the factor's own rounding takes from the largest numbers.
        var most = rounded.Scales.Unsqueeze(1) * 0.51 + weight.Abs() * 0.004;
        Assert.Equal(1, ((rounded.Dequantize(ElementType.Float32) - weight).Abs().Le(most)).All().Item());
        Assert.Equal(rounded.Scales.ToArray<float>(), rounded.Scales.To(ElementType.BFloat16).To(ElementType.Float32).ToArray<float>());
        Assert.InRange(rounded.Error(weight), 1e-4, 0.01);
        Assert.Equal(0, rounded.Dequantize(ElementType.Float32).Select(0, 0).Abs().Sum().Item());
    }

    [Fact]
    public void A_layer_computes_with_the_rounded_matrix_whatever_it_is_given()
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(2);
        using var layer = new Linear(6, 4);
        var (weight, bias, x) = (Tensor.Randn([4, 6], generator), Tensor.Randn([4], generator), Tensor.Randn([5, 6], generator));
        var rounded = Int8Weight.Quantize(weight);
        SafetensorsWriter.Write(folder.File("w"), [("weight", rounded.Codes), ("weight_scale", rounded.Scales), ("bias", bias)]);
        using var source = SafetensorsFile.Open(folder.File("w"));
        layer.Load(source, ElementType.Float32);
        var expected = x.Linear(rounded.Dequantize(ElementType.Float32), bias).ToArray<float>();
        Assert.Equal(expected, layer.Forward(x).ToArray<float>());
        Assert.Equal(expected, layer.Forward([x.Narrow(1, 0, 2), x.Narrow(1, 2, 4)]).ToArray<float>());
        layer.To(ElementType.BFloat16);
        Assert.Equal(ElementType.Int8, layer.Weight.Value.Type);
        Assert.Equal(ElementType.BFloat16, layer.Forward(x.To(ElementType.BFloat16)).Type);

        // The same layer with numbers again.
        SafetensorsWriter.Write(folder.File("plain"), [("weight", weight), ("bias", bias)]);
        using var plain = SafetensorsFile.Open(folder.File("plain"));
        layer.Load(plain);
        Assert.Equal(x.Linear(weight, bias).ToArray<float>(), layer.Forward(x).ToArray<float>());
    }

    [Fact]
    public void Codes_without_factors_and_factors_without_codes_are_refused()
    {
        using var scope = new TensorScope();
        using var layer = new Linear(2, 3, bias: false);
        SafetensorsWriter.Write(folder.File("codes"), [("weight", Tensor.Zeros([3, 2], ElementType.Int8))]);
        SafetensorsWriter.Write(folder.File("factors"), [("weight", Tensor.Zeros([3, 2])), ("weight_scale", Tensor.Ones([3]))]);
        SafetensorsWriter.Write(folder.File("short"), [("weight", Tensor.Zeros([3, 2], ElementType.Int8)), ("weight_scale", Tensor.Ones([2]))]);
        AssertRefused("codes", CheckpointFault.FactorsMissing("weight", "weight_scale"));
        AssertRefused("factors", CheckpointFault.FactorsUnexpected("weight"));
        AssertRefused("short", CheckpointFault.ShapeDiffers("weight_scale", [2], [3]));

        void AssertRefused(string file, string difference)
        {
            using var source = SafetensorsFile.Open(folder.File(file));
            FaultAssert.Is(Assert.Throws<CheckpointException>(() => layer.Load(source)), "weights_misfit", ("file", folder.File(file)), ("differences", difference));
        }
    }
}
