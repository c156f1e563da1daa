using PyramidFlow.Testing;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Torch.Tests;

public sealed class ModuleTests : IDisposable
{
    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    [Fact]
    public void Keys_come_from_fields_attributes_and_lists()
    {
        using var net = new Net();
        Assert.Equal(
            ["base_weight", "proj_mlp.weight", "proj_mlp.bias", "net.0.proj.weight", "blocks.0.weight", "blocks.2.weight", "heads.0.weight", "heads.0.bias", "table"],
            net.NamedParameters().Select(p => p.Key));
        Assert.Equal("outer.base_weight", net.NamedParameters("outer").First().Key);
        Assert.Equal(5 + 6 + 2 + 4 + 4 + 4 + 2 + 2 + 1, net.ParameterCount());
        Assert.All(net.NamedParameters(), p => Assert.False(p.Parameter.HasValue));
    }

    [Fact]
    public void Loading_names_all_faults_at_once()
    {
        using var scope = new TensorScope();
        using var net = new Net();
        var tensors = net.NamedParameters().Select(p => (p.Key, Tensor.Ones(p.Parameter.Shape)))
            .Where(p => p.Key is not ("table" or "blocks.2.weight" or "base_weight"))
            .Append(("base_weight", Tensor.Ones([5, 1]))).Append(("strange", Tensor.Ones([1]))).Append(("tied", Tensor.Ones([1])));
        SafetensorsWriter.Write(folder.File("w"), tensors);
        using var source = SafetensorsFile.Open(folder.File("w"));
        var error = Assert.Throws<CheckpointException>(() => net.Load(source));
        string[] differences =
        [
            CheckpointFault.KeyMissing("blocks.2.weight"), CheckpointFault.KeyMissing("table"), CheckpointFault.KeyUnknown("strange"),
            CheckpointFault.ShapeDiffers("base_weight", [5, 1], [5]),
        ];
        FaultAssert.Is(error, "weights_misfit", ("file", folder.File("w")), ("differences", string.Join("; ", differences)));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => net.Load(source, ignore: key => key == "strange")), "weights_misfit",
            ("differences", string.Join("; ", differences.Where((_, i) => i != 2))));
        Assert.All(net.NamedParameters(), p => Assert.False(p.Parameter.HasValue));
    }

    [Theory]
    [InlineData("dit.", "dit.", "vae.encoder.", "text_encoder.")]
    [InlineData("model.vae.", "model.vae.", "model.loss.", "optimizer.state.0.")]
    [InlineData("model_ema.vae.", "model.vae.", "model_ema.vae.")]
    [InlineData("ema.", "module.", "ema.")]
    [InlineData("", "", "vae.")]
    public void A_model_is_found_in_a_training_checkpoint(string expected, params string[] prefixes)
    {
        using var scope = new TensorScope();
        using var layer = new Linear(2, 1);
        // Every part has other values; those that are no such layer have one weight only.
        var parts = prefixes.Select((prefix, i) => (Prefix: prefix, Value: i + 1.0)).ToList();
        SafetensorsWriter.Write(folder.File("w"), parts.SelectMany(p => Part(p.Prefix, p.Value)));
        using var source = SafetensorsFile.Open(folder.File("w"));
        layer.Load(source, ignore: key => key.StartsWith("vae.", StringComparison.Ordinal));
        Assert.Equal(parts.Single(p => p.Prefix == expected).Value, layer.Bias!.Value.Item());

        static IEnumerable<(string, Tensor)> Part(string prefix, double value) =>
            prefix is "" or "dit." or "model.vae." or "model_ema.vae." or "module." or "ema."
                ? [(prefix + "weight", Tensor.Full([1, 2], value)), (prefix + "bias", Tensor.Full([1], value))]
                : [(prefix + "weight", Tensor.Full([1, 2], value))];
    }

    [Fact]
    public void Nothing_is_guessed_between_two_parts_that_both_fit()
    {
        using var scope = new TensorScope();
        using var layer = new Linear(2, 1, bias: false);
        SafetensorsWriter.Write(folder.File("w"), [("a.weight", Tensor.Ones([1, 2])), ("b.weight", Tensor.Ones([1, 2]))]);
        using var source = SafetensorsFile.Open(folder.File("w"));
        FaultAssert.Is(Assert.Throws<CheckpointException>(() => layer.Load(source)), "weights_misfit",
            ("differences", string.Join("; ", CheckpointFault.KeyMissing("weight"), CheckpointFault.KeyUnknown("a.weight"), CheckpointFault.KeyUnknown("b.weight"))));
    }

    [Fact]
    public void A_long_list_of_faults_is_cut()
    {
        using var scope = new TensorScope();
        using var layer = new Linear(1, 1, bias: false);
        SafetensorsWriter.Write(folder.File("w"), Enumerable.Range(0, 30).Select(i => ($"x{i}", Tensor.Ones([1]))));
        using var source = SafetensorsFile.Open(folder.File("w"));
        Assert.EndsWith("; and 19 more", Assert.Throws<CheckpointException>(() => layer.Load(source)).Message);
    }

    [Theory]
    [InlineData(null, ElementType.Float32)]
    [InlineData(ElementType.BFloat16, ElementType.BFloat16)]
    [InlineData(ElementType.Float64, ElementType.Float64)]
    public void Loading_converts_floating_point_weights_only(ElementType? wanted, ElementType held)
    {
        var live = Tensor.LiveCount;
        using (var scope = new TensorScope())
        {
            SafetensorsWriter.Write(folder.File("w"), [("weight", Tensor.From<float>([1, 2, 3, 4], 2, 2)), ("index", Tensor.Arange(0, 3, type: ElementType.Int64))]);
            using var module = new Indexed();
            using (var source = SafetensorsFile.Open(folder.File("w")))
                module.Load(source, wanted);
            Assert.Equal(held, module.Weight.Value.Type);
            Assert.Equal(ElementType.Int64, module.Index.Value.Type);
            Assert.Equal([1f, 2f, 3f, 4f], module.Weight.Value.To(ElementType.Float32).ToArray<float>());
        }

        Assert.Equal(live, Tensor.LiveCount);
    }

    [Fact]
    public void The_same_seed_gives_the_same_weights()
    {
        var live = Tensor.LiveCount;
        Assert.Equal(Draw(3), Draw(3));
        Assert.NotEqual(Draw(3), Draw(4));
        Assert.Equal(live, Tensor.LiveCount);
        static float[] Draw(ulong seed)
        {
            using var generator = new RandomGenerator(seed);
            using var net = new Net();
            net.Initialize(generator);
            return [.. net.NamedParameters().SelectMany(p => p.Parameter.Value.ToArray<float>())];
        }
    }

    [Fact]
    public void Weights_are_converted_in_place_and_freed_with_the_module()
    {
        var live = Tensor.LiveCount;
        using var generator = new RandomGenerator(1);
        var net = new Net();
        var error = Assert.Throws<InvalidOperationException>(() => net.NamedParameters().First().Parameter.Value);
        Assert.Contains("load a checkpoint or call Initialize", error.Message, StringComparison.Ordinal);
        net.Initialize(generator);
        net.Initialize(generator);
        Assert.Equal(live + 9, Tensor.LiveCount);
        net.To(ElementType.BFloat16);
        Assert.All(net.NamedParameters(), p => Assert.Equal(ElementType.BFloat16, p.Parameter.Value.Type));
        net.Dispose();
        net.Dispose();
        Assert.Equal(live, Tensor.LiveCount);
    }

    private abstract class Base : Module
    {
        private readonly Parameter baseWeight = new([5], Initializers.Ones);

        public Parameter BaseWeight => baseWeight;
    }

    private sealed class Net : Base
    {
        private readonly Linear projMlp = new(3, 2);

        [Key("net.0.proj")]
        private readonly Linear up = new(2, 2, bias: false);

        private readonly Linear?[] blocks = [new(2, 2, bias: false), null, new(2, 2, bias: false)];
        private readonly List<Linear> heads = [new(1, 2)];
        private readonly Parameter table = new([1], Initializers.Normal(1)) { Trainable = false };
        private readonly Linear? absent = Never();

        public object?[] All => [projMlp, up, blocks, heads, table, absent];

        protected override bool Ignores(string key) => key == "tied";

        private static Linear? Never() => null;
    }

    private sealed class Indexed : Module
    {
        private readonly Parameter weight = new([2, 2], Initializers.Zeros);
        private readonly Parameter index = new([3], Initializers.Zeros);

        public Parameter Weight => weight;

        public Parameter Index => index;
    }
}
