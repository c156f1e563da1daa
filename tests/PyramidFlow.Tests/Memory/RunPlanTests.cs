using PyramidFlow.Models;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Generation;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Memory;

public sealed class RunPlanTests : IDisposable
{
    private static readonly MachineSpeed Speed = new(1e12 / 0.85, 0.5e12 / 0.85);

    private readonly TemporaryFolder folder = new();

    public void Dispose() => folder.Dispose();

    // Counted by another program, with the shorter texts of its prompts.
    [Theory]
    [InlineData("384p", 121, 2.99e15)]
    [InlineData("768p", 121, 15.0e15)]
    [InlineData("768p", 241, 40.7e15)]
    public void Sampling_with_miniflux_takes_the_operations_that_were_counted(string variant, int frames, double expected)
    {
        var plan = Plan(PlannedModel.Released(ModelFamilies.Flux, variant), frames, history: 0);
        Assert.InRange(Sampled(plan) / expected, 0.95, 1.1);
        Assert.Equal(plan.Work.Sum(work => work.Seconds), plan.Seconds);
        Assert.Equal((0, 0), (plan.HistoryBytes, plan.HistorySavedFlops));
    }

    [Theory]
    [InlineData("384p", 121, 0.289, 10.04e9)]
    [InlineData("768p", 121, 0.215, 35.9e9)]
    [InlineData("768p", 241, 0.374, 73e9)]
    public void A_history_cache_saves_a_share_of_the_operations(string variant, int frames, double share, double bytes)
    {
        var model = PlannedModel.Released(ModelFamilies.Flux, variant);
        var (plain, cached) = (Plan(model, frames, history: 0), Plan(model, frames));
        Assert.Equal(share, 1 - (Sampled(cached) / Sampled(plain)), 1e-3);
        Assert.Equal(plain.Flops, cached.Flops + cached.HistorySavedFlops, plain.Flops * 1e-12);
        Assert.Equal(1, cached.HistoryBytes / bytes, 0.05);
        Assert.Equal(plain.Memory, cached.Memory);

        // Half of the bytes save less than half, because they hold the lower stages, whose tokens are few.
        var half = Plan(model, frames, history: cached.HistoryBytes / 2);
        Assert.InRange(half.HistorySavedFlops / cached.HistorySavedFlops, 0.3, 0.7);
        Assert.Equal(plain.Memory[0].Memory.Transformer + half.HistoryBytes, half.Memory[0].Memory.Transformer);
    }

    [Fact]
    public void Decoding_takes_the_operations_that_were_counted()
    {
        var plan = Plan(PlannedModel.Released(ModelFamilies.Flux, "384p"), 121);
        var decode = plan.Work.Where(work => work.Phase == GenerationPhase.Decoding).ToList();
        Assert.Equal(16, decode.Count);
        Assert.InRange(decode.Sum(work => work.Flops) / 0.58e15, 0.95, 1.05);
        Assert.Equal(decode.Sum(work => work.Flops) / 0.5e12, decode.Sum(work => work.Seconds), 1e-6);
    }

    [Theory]
    [InlineData("pyramid_flux", 4.76e9, 1.97e9, 0.335e9)]
    [InlineData("pyramid_mmdit", 4.76e9, 2.03e9, 0.335e9)]
    public void Released_models_have_their_known_sizes(string familyName, double t5, double transformer, double vae)
    {
        var family = ModelFamilies.Get(familyName);
        var sizes = PlannedModel.Released(family, "384p").Sizes;
        Assert.InRange(sizes.Text[^1].Count / t5, 0.98, 1.02);
        Assert.InRange(sizes.Transformer.Count / transformer, 0.95, 1.05);
        Assert.InRange(sizes.Vae.Count / vae, 0.98, 1.02);
        Assert.Equal(2 * sizes.Vae.Count, sizes.Vae.Bytes(ElementType.BFloat16));
        Assert.InRange((double)sizes.VaeDecoder.Count / sizes.Vae.Count, 0.5, 0.9);
        Assert.InRange(sizes.Text[^1].StreamedBytes(ElementType.BFloat16, DeviceType.Cpu) / 1e9, 0.6, 1.2);
    }

    [Fact]
    public void Each_way_to_offload_takes_less_than_the_one_before()
    {
        var memory = Plan(PlannedModel.Released(ModelFamilies.Flux, "384p"), 121).Memory;
        Assert.Equal([Offload.None, Offload.Model, Offload.Sequential], memory.Select(each => each.Offload));
        Assert.All(memory.Zip(memory.Skip(1)), pair =>
        {
            Assert.True(pair.First.Memory.Text >= pair.Second.Memory.Text);
            Assert.True(pair.First.Memory.Transformer > pair.Second.Memory.Transformer);
            Assert.True(pair.First.Memory.Decoder >= pair.Second.Memory.Decoder);
        });
    }

    [Fact]
    public void A_folder_is_planned_from_its_configs_and_int8_weights_are_seen()
    {
        RandomCheckpoint.Write(folder.File("plain"), new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: TestContext.Current.CancellationToken);
        CheckpointConversion.Convert(folder.File("plain"), folder.File("int8"), new ConversionOptions { Int8 = true }, cancellationToken: TestContext.Current.CancellationToken);
        var (plain, rounded) = (Sizes("plain"), Sizes("int8"));
        Assert.True(rounded.Transformer.IsRounded);
        Assert.False(plain.Transformer.IsRounded || rounded.Vae.IsRounded);
        Assert.InRange((double)rounded.Transformer.Bytes(ElementType.Float32) / plain.Transformer.Bytes(ElementType.Float32), 0.25, 0.75);
        foreach (var type in new[] { ElementType.Float32, ElementType.BFloat16 })
            Assert.Equal(rounded.All.Select(size => size.Bytes(type)), plain.AsInt8.All.Select(size => size.Bytes(type)));
        foreach (var file in Directory.GetFiles(folder.File("plain"), "*.safetensors*", SearchOption.AllDirectories))
            File.Delete(file);
        Assert.Equal(plain.All.Select(size => size.Count), Sizes("plain").All.Select(size => size.Count));

        ModelSizes Sizes(string name) => PlannedModel.Of(CheckpointFolder.Open(folder.File(name))).Sizes;
    }

    [Fact]
    public void Weights_that_are_used_as_they_lie_in_the_file_count_as_far_as_they_are_read()
    {
        RandomCheckpoint.Write(folder.File("model"), new RandomOptions("miniflux", RandomScale.Tiny), cancellationToken: TestContext.Current.CancellationToken);
        var checkpoint = CheckpointFolder.Open(folder.File("model"));
        var model = PlannedModel.Of(checkpoint);
        var stored = model.Sizes.Transformer.IsMapped(ElementType.BFloat16, DeviceType.Cpu) ? ElementType.BFloat16 : ElementType.Float32;
        Assert.True(model.Sizes.Transformer.IsMapped(stored, DeviceType.Cpu));
        Assert.False(model.Sizes.Transformer.IsMapped(stored, DeviceType.Cuda));
        Assert.False(PlannedModel.Released(ModelFamilies.Flux, "384p").Sizes.Transformer.IsMapped(ElementType.Float32, DeviceType.Cpu));
        Assert.False(PlannedModel.Released(ModelFamilies.Flux, "384p").AsInt8!.Sizes.Transformer.IsMapped(ElementType.Float32, DeviceType.Cpu));

        var (mapped, copied) = (Sequential(null), Sequential(new Device(DeviceType.Cuda)));
        var (block, encoder) = (model.Sizes.Transformer.StreamedBytes(stored, DeviceType.Cuda) - model.Sizes.Transformer.StreamedBytes(stored, DeviceType.Cpu),
            model.Sizes.Vae.Bytes(stored) - model.Sizes.VaeDecoder.Bytes(stored));
        Assert.True(block > 0 && encoder > 0);
        Assert.Equal(copied.Decoder - encoder, mapped.Decoder);

        RunMemory Sequential(Device? device) => RunMemory.Of(model, new GenerationOptions { Prompt = "p" }.Resolve(model.Settings), stored,
            new PipelineOptions { Offload = Offload.Sequential, Device = device });
    }

    private static double Sampled(RunPlan plan) => plan.Work.Where(work => work.Phase == GenerationPhase.Denoising).Sum(work => work.Flops);

    private static RunPlan Plan(PlannedModel model, int frames, long? history = null) => RunPlan.Of(model,
        new GenerationOptions { Prompt = "p", Frames = frames }.Resolve(model.Settings), ElementType.BFloat16,
        new PipelineOptions { Sampler = new SamplerOptions { HistoryBytes = history } }, Speed);
}
