using System.Text.Json;
using PyramidFlow.Generation;
using PyramidFlow.Hub.Checking;
using PyramidFlow.Hub.RandomModels;
using PyramidFlow.Models;
using PyramidFlow.Models.Tokenizers;
using PyramidFlow.Testing;
using PyramidFlow.Torch;

namespace PyramidFlow.Tests.Models;

/// <summary>A third family lives in this file alone: it is checked, planned and generates like the others.</summary>
public sealed class MadeUpFamilyTests
{
    private static readonly ModelFamily Family = ModelFamilies.Register(new MadeUpFamily());

    [Fact]
    public async Task A_checkpoint_of_it_is_written_checked_planned_and_makes_a_video()
    {
        var cancel = TestContext.Current.CancellationToken;
        using var folder = new TemporaryFolder();
        RandomCheckpoint.Write(folder.Path, new RandomOptions(Family.ShortName, RandomScale.Tiny, Seed: 3), cancellationToken: cancel);
        var checkpoint = CheckpointFolder.Open(folder.Path);
        Assert.Same(Family, checkpoint.Family);
        Assert.All(CheckpointReport.Create(checkpoint, cancellationToken: cancel).Variants, variant => Assert.Empty(variant.Faults));

        var request = new GenerationOptions { Prompt = "a red ball", Frames = 17, Guidance = 3, VideoGuidance = 2, Seed = 1 };
        var plan = RunPlan.Of(PlannedModel.Of(checkpoint), request.Resolve(checkpoint.Settings(null)), ElementType.Float32, new PipelineOptions(), new MachineSpeed(1, 1));
        Assert.Equal(9, plan.Work.Count(work => work.Phase == GenerationPhase.Denoising));
        Assert.True(plan.Flops > 0);

        using var pipeline = VideoPipeline.Load(folder.Path);
        var frames = 0;
        await foreach (var chunk in pipeline.GenerateAsync(request, cancellationToken: cancel))
            frames += chunk.Count;
        Assert.Equal(17, frames);
    }

    private sealed record MadeUpConfig(int Blocks) : ITransformerConfig
    {
        public long Dim => 32;

        public long Heads => 2;

        public long LatentChannels => 4;

        public long JointAttentionDim => 32;

        public long PooledProjectionDim => 32;

        public bool UseTemporalCausal => true;

        public int? MaxPatches => null;

        public string ClassName => "MadeUpTransformer";

        public long ModulationOutputs => 12 * Blocks;

        public Dictionary<string, JsonElement>? Others => null;

        public PyramidTransformer Build() => new MadeUpTransformer(this);

        public ITransformerConfig WithBlocks(int count) => new MadeUpConfig(count);

        public string ToJson() => $$"""{ "_class_name": "MadeUpTransformer", "made_up_blocks": {{Blocks}} }""";
    }

    private sealed class MadeUpAttention(long dim, long heads, bool last) : JointAttention(dim, heads, 1e-6, last)
    {
        private readonly RmsNorm textQ = new(dim / heads);
        private readonly RmsNorm textK = new(dim / heads);

        private protected override RmsNorm TextQueryNorm => textQ;

        private protected override RmsNorm TextKeyNorm => textK;
    }

    private sealed class MadeUpTransformer : PyramidTransformer
    {
        private readonly MadeUpConfig config;
        private readonly TimeTextEmbedding time = new(32, 32);
        private readonly Linear words = new(32, 32, Initializers.Normal(0.02));
        private readonly Linear patches = new(16, 32, Initializers.Normal(0.02));
        private readonly JointBlock[] blocks;
        private readonly AdaLayerNorm norm = new(32, 2);
        private readonly Linear output = new(32, 16, Initializers.Normal(0.02));

        internal MadeUpTransformer(MadeUpConfig config)
        {
            this.config = config;
            blocks = [.. Enumerable.Range(1, config.Blocks).Select(i => new JointBlock(32, new MadeUpAttention(32, 2, i == config.Blocks), i == config.Blocks))];
            Parts = new TransformerParts(time, words, blocks, [], norm, output);
        }

        public override ITransformerConfig Config => config;

        private protected override TransformerParts Parts { get; }

        private protected override IReadOnlyList<int> RotaryDims => [16, 0, 0];

        private protected override Tensor EmbedClips(IReadOnlyList<Tensor> clips, SequenceLayout layout, int first) =>
            patches.Forward(Tensor.Cat([.. clips.Select(clip => Patches.Cut(clip.To(WeightType)))], 1));
    }

    private sealed class MadeUpFamily : ModelFamily
    {
        public override string Name => "made_up";

        public override string Title => "made up";

        public override string ShortName => "made-up";

        public override string ReleasedName => "pyramid-flow-made-up";

        public override string ClassName => "MadeUpTransformer";

        public override IReadOnlyList<(string Tokenizer, string TextEncoder)> TextComponents => [("words", "clip"), ("pieces", "t5")];

        public override LatentNormalization Latent => new(0, 1, 0, 1);

        public override CheckpointSizes Released => Tiny(10, 10);

        public override string ClipClassName => "CLIPTextModel";

        public override CheckpointSizes Tiny(int clipRows, int t5Rows) =>
            new(new MadeUpConfig(2), CheckpointSizes.TinyVae, [CheckpointSizes.TinyClip(clipRows)], CheckpointSizes.TinyT5(t5Rows));

        public override bool HasKeysOf(IReadOnlyDictionary<string, JsonElement> config) => config.ContainsKey("made_up_blocks");

        public override ITransformerConfig LoadConfig(string path) => ParseConfig(File.ReadAllText(path), path);

        public override ITransformerConfig ParseConfig(string json, string name) => DeserializeConfig(JsonDocument.Parse(json).RootElement);

        public override ITransformerConfig DeserializeConfig(JsonElement json) => new MadeUpConfig(json.GetProperty("made_up_blocks").GetInt32());

        public override Module BuildClip(ClipTextConfig config) => new ClipTextModel(config);

        public override long PooledWidth(ClipTextConfig config) => config.HiddenSize;

        public override PromptEncoder CreatePromptEncoder(IReadOnlyList<(ClipTokenizer Tokenizer, Module Model)> clips, T5Tokenizer t5Tokenizer, T5Encoder t5) =>
            new FluxPromptEncoder(clips[0].Tokenizer, (ClipTextModel)clips[0].Model, t5Tokenizer, t5);
    }
}
