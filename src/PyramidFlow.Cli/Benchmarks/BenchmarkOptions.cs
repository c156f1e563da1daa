using PyramidFlow.Cli.Terminal;
using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Benchmarks;

/// <summary>Options of a benchmark: the parts to measure and the size of the video.</summary>
internal sealed record BenchmarkOptions
{
    /// <summary>Stages of the spatial pyramid.</summary>
    internal const int Stages = 3;

    /// <summary>The transformer to measure, from <see cref="ReleasedModels.Transformer"/>; null leaves it out.</summary>
    public ITransformerConfig? Transformer { get; init; }

    /// <summary>The VAE to measure; null leaves it out.</summary>
    public CausalVideoVaeConfig? Vae { get; init; }

    /// <summary>Text encoders to measure; null leaves them out.</summary>
    public TextToMeasure? Text { get; init; }

    /// <summary>A training step to measure; null leaves it out.</summary>
    public TrainingToMeasure? Training { get; init; }

    /// <summary>A whole video to make with a released model's sizes; null makes none.</summary>
    public VideoToMeasure? Video { get; init; }

    /// <summary>Device of the measurement.</summary>
    public Device Device { get; init; } = Device.Cpu;

    /// <summary>Element types of the weights, in which all is computed, one after the other: float32 and bfloat16.</summary>
    public IReadOnlyList<ElementType> Types { get; init; } = [ElementType.Float32];

    /// <summary>Pixels of the video the transformer makes, multiples of 64.</summary>
    public (int Width, int Height) Size { get; init; } = (640, 384);

    /// <summary>Pixels of the frames the VAE decodes and encodes, multiples of its scale.</summary>
    public (int Width, int Height) VaeSize { get; init; } = (256, 256);

    /// <summary>Lengths of the videos the VAE decodes and encodes, in latent frames.</summary>
    public IReadOnlyList<int> VaeLatentFrames { get; init; } = [1, 2, 3];

    /// <summary>Pixels of the clips a training step learns from, multiples of 128.</summary>
    public (int Width, int Height) TrainingSize { get; init; } = (256, 256);

    /// <summary>Tiles for a decoder that goes tile by tile; null decodes and encodes whole frames.</summary>
    public TileOptions? VaeTiles { get; init; }

    /// <summary>Which units of the video the transformer makes, from 0, in rising order; the units before one are its history.</summary>
    public IReadOnlyList<int> Units { get; init; } = [1, 8, 16];

    /// <summary>How often each row is measured; the median counts. At least 1.</summary>
    public int Runs { get; init; } = 1;

    /// <summary>Sizes of the operations whose rates are the yardstick.</summary>
    public RateSizes Rates { get; init; } = RateSizes.Released;

    /// <summary>Refuses what cannot be measured.</summary>
    /// <exception cref="UsageException">A size, unit or element type is impossible; the message has the fix.</exception>
    public void Check()
    {
        if (Types.Count == 0 || Types.Any(type => type is not (ElementType.Float32 or ElementType.BFloat16)))
            throw CommandFault.TypesNotMeasured(Types);
        if (Units.Count == 0 || Units.Min() < 0)
            throw Units.Count == 0 ? CommandFault.NoUnit() : CommandFault.UnitNegative(Units.Min());
        if (Runs < 1)
            throw CommandFault.NoRuns(Runs);
        if (Transformer is not null)
        {
            CheckMultiple("width", Size.Width, 64);
            CheckMultiple("height", Size.Height, 64);
        }

        if (Training is not null)
        {
            CheckMultiple("width", TrainingSize.Width, 128);
            CheckMultiple("height", TrainingSize.Height, 128);
        }

        Video?.Settings(PlannedModel.Released(Video.Family, Video.Variant).Settings);
        if (Vae is not null)
        {
            if (VaeLatentFrames.Count == 0 || VaeLatentFrames.Min() < 1)
                throw CommandFault.NoLatentFrames(VaeLatentFrames);
            VaeTiles?.Check(Vae.SpatialScale);
            CheckMultiple("width", VaeSize.Width, Vae.SpatialScale);
            CheckMultiple("height", VaeSize.Height, Vae.SpatialScale);
        }
    }

    private static void CheckMultiple(string name, int value, int multiple)
    {
        if (value >= multiple && value % multiple == 0)
            return;
        throw CommandFault.SizeNotMultiple(name, value, multiple, Math.Max(1, value / multiple) * multiple);
    }
}

/// <summary>Text encoders to measure, from <see cref="ReleasedModels.Text"/>.</summary>
/// <param name="Clips">One CLIP, or two.</param>
/// <param name="T5">The T5 encoder.</param>
/// <param name="Blocks">Keeps only this many blocks of T5; null keeps as many as memory has room for.</param>
internal sealed record TextToMeasure(IReadOnlyList<ClipTextConfig> Clips, T5EncoderConfig T5, int? Blocks = null);

/// <summary>A training step to measure.</summary>
/// <param name="Transformer">Settings of the transformer that is trained.</param>
/// <param name="Clips">Clips in the batch, a multiple of 4: a quarter, a half and a quarter of them train the three stages, as released.</param>
/// <param name="Units">Units of each clip, of which the last is learned and the others are its history.</param>
internal sealed record TrainingToMeasure(ITransformerConfig Transformer, int Clips = 4, int Units = 9)
{
    /// <summary>A transformer of miniFLUX's kind with about 100 million weights.</summary>
    public static TrainingToMeasure HundredMillion { get; } = new(new PyramidFluxConfig(InChannels: 64, NumLayers: 2, NumSingleLayers: 6,
        AttentionHeadDim: 64, NumAttentionHeads: 12, JointAttentionDim: 4096, PooledProjectionDim: 768));
}

/// <summary>A whole video to make.</summary>
/// <param name="Family">Whose transformer.</param>
/// <param name="Width">Pixels, a multiple of 64.</param>
/// <param name="Height">Pixels, a multiple of 64.</param>
/// <param name="Frames">1, 9, 17, ...</param>
/// <param name="Blocks">Keeps only this many blocks of the transformer; null keeps all.</param>
/// <param name="HistoryBytes">Most bytes of the history cache; null takes what is free.</param>
internal sealed record VideoToMeasure(ModelFamily Family, int Width, int Height, int Frames, int? Blocks = null, long? HistoryBytes = null)
{
    /// <summary>Whether the latents are decoded.</summary>
    public bool IsDecoded { get; init; } = true;

    /// <summary>Another VAE, with as many latent channels; null takes the model's.</summary>
    internal CausalVideoVaeConfig? Vae { get; init; }

    /// <summary>A model on this machine whose sizes and steps are taken; null takes those of the released model.</summary>
    internal PlannedModel? Installed { get; init; }

    /// <summary>The model with that many blocks.</summary>
    internal PlannedModel Model => (Installed ?? PlannedModel.Released(Family, Variant)) is var whole && Blocks is { } kept ? whole.Cut(kept, Vae) : whole;

    /// <summary>The released variant of that size.</summary>
    internal string Variant => Math.Max(Width, Height) > 640 ? "768p" : "384p";

    /// <summary>Settings of the video, with the steps and guidance of the model; without a history window, whose pictures would have to be decoded.</summary>
    internal GenerationSettings Settings(PipelineSettings defaults) =>
        new GenerationOptions { Prompt = "a video", Width = Width, Height = Height, Frames = Frames, HistoryWindow = 0 }.Resolve(defaults);
}

/// <summary>Transformers of the released sizes.</summary>
internal static class ReleasedModels
{
    /// <summary>The transformer of a released model.</summary>
    /// <param name="family">miniFLUX (1920 wide, 8 double- and 16 single-stream blocks) or SD3 (1536 wide, 24 blocks).</param>
    /// <param name="blocks">Keeps only this many blocks, 1 to 24, of miniFLUX one of three double-stream; null keeps all.</param>
    /// <exception cref="UsageException">The model has fewer blocks.</exception>
    public static ITransformerConfig Transformer(ModelFamily? family = null, int? blocks = null)
    {
        var whole = Whole(family);
        if (blocks is not { } kept)
            return whole;
        if (kept < 1 || kept > whole.Blocks)
            throw CommandFault.BlocksOutOfRange("the model", whole.Blocks, kept);
        return whole.WithBlocks(kept);
    }

    /// <summary>The text encoders of a released model.</summary>
    /// <param name="family">miniFLUX (CLIP-L and T5-XXL) or SD3 (CLIP-L, CLIP-G and T5-XXL).</param>
    /// <param name="blocks">Keeps only this many of T5's blocks; null keeps as many as memory has room for.</param>
    /// <exception cref="UsageException">T5 has fewer blocks.</exception>
    public static TextToMeasure Text(ModelFamily? family = null, int? blocks = null)
    {
        var released = Released(family);
        return blocks is { } kept && (kept < 1 || kept > released.T5.NumLayers)
            ? throw CommandFault.BlocksOutOfRange("T5", released.T5.NumLayers, kept)
            : new TextToMeasure(released.Clips, released.T5, blocks);
    }

    /// <summary>Whether a model has all its blocks.</summary>
    internal static bool IsWhole(ITransformerConfig config) =>
        config.Blocks == Whole(ModelFamilies.For(config)).Blocks;

    private static ITransformerConfig Whole(ModelFamily? family) => Released(family).Transformer;

    private static PlannedModel Released(ModelFamily? family) => PlannedModel.Released(family ?? ModelFamilies.Flux, "768p");
}
