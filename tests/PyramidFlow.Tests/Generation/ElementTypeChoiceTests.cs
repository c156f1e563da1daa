using PyramidFlow.Generation;
using PyramidFlow.Hub.Conversion;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Models;
using PyramidFlow.Testing;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;

namespace PyramidFlow.Tests.Generation;

public sealed class ElementTypeChoiceTests : IDisposable
{
    private const int HeadWidth = 16, LeastHeads = 16;
    private static readonly GenerationOptions Request = new() { Prompt = "a red ball", Frames = 9, Seed = 1 };

    private readonly TemporaryFolder folder = new();

    private static CancellationToken Cancel => TestContext.Current.CancellationToken;

    public void Dispose() => folder.Dispose();

    [Theory]
    [InlineData(LeastHeads, 1.5, ElementType.BFloat16, "bfloat16: products are 1.5 times as fast as in float32 here")]
    [InlineData(LeastHeads, 3.06, ElementType.BFloat16, "bfloat16: products are 3.0 times as fast as in float32 here")]
    [InlineData(LeastHeads, 1.49, ElementType.Float32, "float32: products in bfloat16 are 1.4 times as fast here, and 1.5 times would be worth it")]
    [InlineData(LeastHeads, 0.3, ElementType.Float32, "float32: products in bfloat16 are 0.3 times as fast here, and 1.5 times would be worth it")]
    [InlineData(LeastHeads - 1, 9, ElementType.Float32, "float32: so small a transformer is no faster in bfloat16")]
    public void A_checkpoint_in_bfloat16_runs_in_it_where_products_are_fast_enough_and_most_of_the_work(int heads, double speedup, ElementType type, string sentence)
    {
        var choice = ElementTypeChoice.Of(PlannedModel.Of(Write(heads)), new PipelineOptions { NarrowSpeedup = speedup });

        Assert.Equal((type, sentence), (choice.Type, choice.ToString()));
    }

    [Theory]
    [InlineData(ElementType.Float32, false, false)]
    [InlineData(ElementType.Float16, false, false)]
    [InlineData(ElementType.BFloat16, false, true)]
    [InlineData(ElementType.BFloat16, true, true)]
    public void Headers_tell_the_type_of_the_weights_and_int8_codes_do_not_count(ElementType stored, bool int8, bool isNarrow)
    {
        Write(LeastHeads);
        CheckpointConversion.Convert(folder.File("model"), folder.File("converted"), new ConversionOptions { Type = stored, Int8 = int8 }, cancellationToken: Cancel);
        var model = PlannedModel.Of(CheckpointFolder.Open(folder.File("converted")));

        Assert.Equal(int8, model.Sizes.Transformer.IsRounded);
        Assert.Equal(isNarrow ? ElementType.BFloat16 : ElementType.Float32, Chosen(model));
    }

    [Fact]
    public void Weights_of_two_types_and_weights_that_are_not_there_stay_in_float32()
    {
        var checkpoint = Write(LeastHeads);
        var file = Directory.GetFiles(checkpoint.Transformer(null).Folder, "*.safetensors").Single();
        using (var scope = new TensorScope())
        {
            List<(string, Tensor)> tensors;
            using (var source = checkpoint.Transformer(null).OpenWeights())
                tensors = [.. source.Keys.Order(StringComparer.Ordinal).Select((key, i) => (key, source.Read(key).To(i == 0 ? ElementType.Float32 : ElementType.BFloat16)))];
            SafetensorsWriter.Write(file, tensors);
        }

        Assert.Equal(ElementType.Float32, Chosen(PlannedModel.Of(checkpoint)));
        File.Delete(file);
        var missing = ElementTypeChoice.Of(PlannedModel.Of(checkpoint), new PipelineOptions { NarrowSpeedup = 9 });
        Assert.Equal("float32: the transformer's weights are not here, and so not their type", missing.ToString());
        Assert.Equal(ElementType.Float32, Chosen(PlannedModel.Released(ModelFamilies.Flux, "384p")));
    }

    [Fact]
    public void A_type_that_was_asked_for_wins_and_a_gpu_takes_bfloat16()
    {
        var model = PlannedModel.Of(Write(LeastHeads));
        foreach (var type in new[] { ElementType.Float32, ElementType.BFloat16, ElementType.Float16 })
        {
            foreach (var speedup in new[] { 0.5, 9 })
                Assert.Equal(type, ElementTypeChoice.Of(model, new PipelineOptions { Type = type, NarrowSpeedup = speedup }).Type);
        }

        var gpu = new PipelineOptions { Device = new Device(DeviceType.Cuda), NarrowSpeedup = 0.5 };
        Assert.Equal(ElementType.BFloat16, ElementTypeChoice.Of(model, gpu).Type);
        Assert.Equal(ElementType.BFloat16, ElementTypeChoice.Of(PlannedModel.Released(ModelFamilies.Flux, "384p"), gpu).Type);
    }

    [Theory]
    [InlineData(3, ElementType.BFloat16, "bf16")]
    [InlineData(1, ElementType.Float32, "fp32")]
    public async Task Plan_placement_run_and_notes_have_one_type(double speedup, ElementType type, string noted)
    {
        var checkpoint = Write(LeastHeads);
        var options = new PipelineOptions { NarrowSpeedup = speedup };
        var plan = GenerationPlan.Of(Request, checkpoint.Root, options);
        Assert.Equal(type, plan.Placement.Type);
        Assert.Equal(GenerationPlan.Of(Request, checkpoint.Root, options with { Type = type }).Placement, plan.Placement);
        Assert.Equal(noted, GenerationNotes.Of("model", "384p", plan.Clip.Options, plan.Placement, []).Dtype);

        using var pipeline = VideoPipeline.Load(checkpoint.Root, options);
        Assert.Equal(type, pipeline.Plan(Request).Placement.Type);
        using (var latents = pipeline.GenerateLatents(Request, cancellationToken: TestContext.Current.CancellationToken))
            Assert.Equal(type, latents.Type);
        using var asked = VideoPipeline.Load(checkpoint.Root, options with { Type = type, NarrowSpeedup = null });
        Assert.Equal(await FramesAsync(asked), await FramesAsync(pipeline));

        var other = GenerationPlan.Of(Request, checkpoint.Root, options with { NarrowSpeedup = 4 - speedup });
        FaultAssert.Is(Assert.Throws<RequestException>(() => pipeline.GenerateAsync(other, cancellationToken: Cancel)), "plan_of_other_options");

        async Task<byte[]> FramesAsync(VideoPipeline made)
        {
            using var frames = new MemoryStream();
            await foreach (var chunk in made.GenerateAsync(plan, cancellationToken: Cancel))
                frames.Write(chunk.Rgb.Span);
            return frames.ToArray();
        }
    }

    [Fact]
    public void The_speed_of_products_is_measured_once_and_leaves_the_number_of_threads()
    {
        using var threads = new ThreadCount(2);
        var (first, second) = (ProductSpeed.Narrow(), ProductSpeed.Narrow());

        Assert.Equal(first, second);
        Assert.True(double.IsFinite(first) && first > 0, $"{first}");
        Assert.Equal(2, TorchRuntime.Threads);
    }

    private static ElementType Chosen(PlannedModel model) => ElementTypeChoice.Of(model, new PipelineOptions { NarrowSpeedup = 9 }).Type;

    // A tiny checkpoint in bfloat16 whose transformer has one block of each kind, as wide as its heads.
    private CheckpointFolder Write(int heads)
    {
        var root = folder.File("model");
        RandomCheckpoint.Write(root, new RandomOptions("miniflux", RandomScale.Tiny, Seed: 3), cancellationToken: Cancel);
        WideTransformer.Write(root, heads * HeadWidth, Cancel);
        return CheckpointFolder.Open(root);
    }
}
