namespace PyramidFlow.Torch.Tests;

public class MuonTests
{
    private const double LearningRate = 0.01;
    private const double WeightDecay = 0.1;

    [Theory]
    [InlineData(24, 16)]
    [InlineData(16, 24)]
    public void Hidden_matrices_step_by_nearly_orthogonal_ones(long inputs, long outputs)
    {
        using var muon = new Trained(inputs, outputs);
        using var scope = new TensorScope();
        var before = muon.Hidden.Weight.Value.Detach().Clone();
        new Muon(muon.Parameters, muon.Optimizer, WeightDecay, IsHidden).Step(LearningRate);
        var scale = 0.2 * Math.Sqrt(Math.Max(inputs, outputs));
        var step = ((before * (1 - (LearningRate * WeightDecay))) - muon.Hidden.Weight.Value.Detach()) / (LearningRate * scale);
        var gram = inputs > outputs ? step.Matmul(step.Transpose(0, 1)) : step.Transpose(0, 1).Matmul(step);
        var singular = gram.Eigh().Values.Sqrt();
        Assert.InRange(singular.Min().Item(), 0.6, 1.3);
        Assert.InRange(singular.Max().Item(), 0.6, 1.3);
    }

    [Fact]
    public void All_other_weights_step_as_with_AdamW()
    {
        using var muon = new Trained(12, 8);
        using var plain = new Trained(12, 8);
        var optimizer = new Muon(muon.Parameters, muon.Optimizer, WeightDecay, IsHidden);
        for (var step = 0; step < 3; step++)
        {
            optimizer.Step(LearningRate);
            plain.Optimizer.Step(LearningRate);
        }

        using var scope = new TensorScope();
        foreach (var (expected, actual) in plain.Others.Zip(muon.Others))
            Assert.Equal(expected.Value.Detach().ToArray<float>(), actual.Value.Detach().ToArray<float>());
        Assert.NotEqual(plain.Hidden.Weight.Value.Detach().ToArray<float>(), muon.Hidden.Weight.Value.Detach().ToArray<float>());
    }

    private static bool IsHidden(string key) => key.StartsWith("hidden.", StringComparison.Ordinal);

    // Two layers with gradients, the same every time.
    private sealed class Trained : IDisposable
    {
        private readonly Linear readOut = new(4, 4);

        public Trained(long inputs, long outputs)
        {
            using var generator = new RandomGenerator(3);
            Hidden = new Linear(inputs, outputs);
            Hidden.Initialize(generator);
            readOut.Initialize(generator);
            Parameters = new FlatParameters(("hidden", Hidden), ("read_out", readOut));
            Optimizer = new AdamW(Parameters, new AdamWOptions { WeightDecay = WeightDecay });
            using var scope = new TensorScope();
            Parameters.Gradients.CopyFrom(Tensor.Randn(Parameters.Gradients.Shape, generator));
        }

        public Linear Hidden { get; }

        public FlatParameters Parameters { get; }

        public AdamW Optimizer { get; }

        public Parameter[] Others => [Hidden.Bias!, readOut.Weight, readOut.Bias!];

        public void Dispose()
        {
            Parameters.Dispose();
            Optimizer.Dispose();
            Hidden.Dispose();
            readOut.Dispose();
        }
    }
}
