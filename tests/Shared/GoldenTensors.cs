using System.Globalization;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Testing;

/// <summary>Tensors of golden cases, and comparison by the manifest's tolerance.</summary>
public static class GoldenTensors
{
    /// <summary>A tensor of the case's file on the <see cref="TestDevice"/>; on the CPU it lies over the file's memory.</summary>
    public static Tensor Tensor(this GoldenCase golden, string name) => golden.File.Read(name).There();

    public static bool Has(this GoldenCase golden, string name) => golden.File.Entries.ContainsKey(name);

    /// <summary>The state dict of a case: the shared weights file, or the case's own tensors under weights/.</summary>
    public static StateSource State(this GoldenCase golden, string field = "weights_file") =>
        golden.Weights(field) is { } shared
            ? SafetensorsFile.Open(shared.Name)
            : SafetensorsFile.Open(golden.File.Name).WithPrefix("weights/");

    /// <summary>Fails unless |actual - expected| is at most atol + rtol * |expected| everywhere; says how large it was.</summary>
    public static void AssertClose(this GoldenCase golden, string name, Tensor actual) =>
        AssertClose(golden.Tensor(name), actual, golden.Atol, golden.Rtol, name);

    public static void AssertClose(Tensor expected, Tensor actual, double atol, double rtol, string what)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        Assert.Equal(expected.Shape, actual.Shape);
        var e = expected.To(Device.Cpu).To(ElementType.Float64);
        var difference = (actual.To(Device.Cpu).To(ElementType.Float64) - e).Abs();
        var excess = difference - e.Abs() * rtol;
        var message = string.Create(CultureInfo.InvariantCulture,
            $"{what}: largest difference {difference.Max().Item():G4} of values up to {e.Abs().Max().Item():G4}, allowed {atol:G2} + {rtol:G2} |expected|");
        TestContext.Current.TestOutputHelper?.WriteLine(message);
        var worst = excess.Max().Item();
        Assert.True(worst <= atol && double.IsFinite(worst), message);
    }
}
