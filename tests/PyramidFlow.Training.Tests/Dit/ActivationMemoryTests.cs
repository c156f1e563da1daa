using System.Globalization;
using PyramidFlow.Models;
using PyramidFlow.Models.Lora;
using PyramidFlow.Scheduling;
using PyramidFlow.Torch;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Tests.Dit;

/// <summary>The planned memory of a transformer's forward and backward, held against the allocator.</summary>
public sealed class ActivationMemoryTests
{
    private const int Words = 24;

    // Of the measured peak. What is counted are the tensors of the blocks, and not all of those that are a few numbers long.
    private const double Tolerance = 0.1;

    [Theory]
    [InlineData("flux", "Float32", 0.0, null)]
    [InlineData("flux", "Float32", 0.5, null)]
    [InlineData("flux", "Float32", 1.0, null)]
    [InlineData("flux", "BFloat16", 0.0, null)]
    [InlineData("flux", "BFloat16", 1.0, null)]
    [InlineData("flux", "BFloat16", 0.0, "to_q,to_k,to_v,to_out.0")]
    [InlineData("flux", "Float32", 0.5, "to_q,to_k,to_v,to_out.0")]
    [InlineData("flux", "BFloat16", 1.0, "proj_out,ff.net.2")]
    [InlineData("mmdit", "Float32", 0.0, null)]
    [InlineData("mmdit", "BFloat16", 0.5, null)]
    [InlineData("mmdit", "Float32", 0.0, "to_q,to_k,to_v,to_out.0")]
    public void The_peak_of_a_step_is_planned(string family, string type, double ratio, string? targets)
    {
        ITransformerConfig network = family == "flux"
            ? new PyramidFluxConfig(16, 2, 3, 32, 4, 128, 64, [8, 12, 12])
            : new PyramidMmditConfig(4, 4, 32, 4, CaptionProjectionDim: 128, 128, 64, PosEmbedMaxSize: 32);
        Compare(network, type, ratio, targets);
    }

    [Theory(Explicit = true)]
    [InlineData("miniflux", "Float32", 0.0, null)]
    [InlineData("miniflux", "BFloat16", 0.0, null)]
    [InlineData("miniflux", "BFloat16", 1.0, null)]
    [InlineData("miniflux", "BFloat16", 0.5, "to_q,to_k,to_v,to_out.0")]
    [InlineData("sd3", "Float32", 0.0, null)]
    [InlineData("sd3", "BFloat16", 0.0, null)]
    [InlineData("sd3", "BFloat16", 1.0, null)]
    public void The_peak_of_a_step_of_the_released_width_is_planned(string family, string type, double ratio, string? targets) =>
        Compare(ModelFamilies.All.Single(each => each.ShortName == family).Wide(10, 10).Transformer, type, ratio, targets);

    private static void Compare(ITransformerConfig network, string type, double ratio, string? targets)
    {
        var (planned, measured) = Peaks(network, Enum.Parse<ElementType>(type), ratio, targets?.Split(','), frames: 4, side: 32);
        TestContext.Current.TestOutputHelper?.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{network.ClassName} {network.Dim} {type} {ratio} {targets}: planned {planned / 1e6:F1} MB, measured {measured / 1e6:F1} MB, {((double)planned / measured) - 1:+0.0%;-0.0%}"));
        Assert.InRange((double)planned / measured, 1 - Tolerance, 1 + Tolerance);
    }

    // Most bytes of a step beside weights, their gradients and the inputs.
    private static (long Planned, long Measured) Peaks(ITransformerConfig network, ElementType type, double ratio, string[]? targets, int frames, int side)
    {
        using var scope = new TensorScope();
        using var generator = new RandomGenerator(1);
        using var model = network.Build();
        model.Initialize(generator);
        model.CheckpointRatio = ratio;
        if (targets is not null)
        {
            model.To(type);
            LoraAdapters.Attach(model, new LoraConfig(4, 4, targets), generator);
        }

        using var parameters = new FlatParameters(type, ("", model));
        foreach (var (_, parameter) in model.NamedParameters().Where(p => !p.Parameter.Trainable))
            parameter.Value = parameter.Value.To(type);
        var latents = Tensor.Randn([4, network.LatentChannels, frames, side, side], generator);
        var batch = new FlowObjective(new PyramidFlowScheduler(), new ObjectiveOptions()).Draw(latents, [frames, frames, frames], new GeneratorDraws(generator));
        using var text = new TextOwner(network, generator);
        var shapes = batch.Stages.Select((clips, i) => new SequenceShape((int)clips[0].Size(0), Words, [.. clips.Select(ClipSize.Of)], network.UseTemporalCausal)).ToList();
        var before = TorchRuntime.CpuMemory.InUse;
        TorchRuntime.ResetPeak();
        FlowStep.Backward(model, batch, text.Condition);
        var measured = TorchRuntime.CpuMemory.Peak - before;
        var layers = targets is null ? TrainedLayers.Whole : new TrainedLayers(false, layer => targets.Contains(layer));
        return (new TransformerTraining(network, type, DeviceType.Cpu, ratio, layers).Peak(shapes, network.PooledProjectionDim), measured);
    }

    private sealed class TextOwner(ITransformerConfig network, RandomGenerator generator) : IDisposable
    {
        public TextCondition Condition { get; } = new(Tensor.Randn([4, Words, network.JointAttentionDim], generator), TextMask.OfLengths([Words, Words, Words, Words]),
            Tensor.Randn([4, network.PooledProjectionDim], generator));

        public void Dispose()
        {
            Condition.Tokens.Dispose();
            Condition.Pooled.Dispose();
        }
    }
}
