using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;

namespace PyramidFlow.Training.Dit;

/// <summary>Latents of the clips of the sprites world, computed once and memory-mapped afterwards.</summary>
public sealed class SpriteLatents : IDisposable
{
    private const string SeedKey = "seed", TurnsKey = "turn_share", ExtraKey = "extra_colour";

    private readonly Tensor latents;
    private readonly DitTrainingConfig config;
    private readonly long[][] clipsOfShape;

    private SpriteLatents(Tensor latents, DitTrainingConfig config)
    {
        (this.latents, this.config) = (latents, config);
        clipsOfShape = config.ShapeShares is null ? [] : ClipsOfShape(config);
    }

    /// <summary>Clips in the set.</summary>
    public int Count => (int)latents.Size(0);

    /// <summary>Latent frames of a clip.</summary>
    public int Frames => (int)latents.Size(2);

    /// <summary>Opens the set, or makes it first.</summary>
    /// <param name="path">The set's file.</param>
    /// <param name="config">Seed, number of clips and their length.</param>
    /// <param name="encode">A video [1, frames, h, w, 3] to latents [1, c, t, h/8, w/8].</param>
    /// <param name="progress">Told now and then, or null.</param>
    /// <param name="cancel">Checked for each clip.</param>
    public static SpriteLatents OpenOrMake(string path, DitTrainingConfig config, Func<Tensor, Tensor> encode,
        IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        if (!File.Exists(path))
            Make(path, config, encode, progress, cancel);
        using var file = SafetensorsFile.Open(path);
        var latents = file.Read("latents");
        if (latents.Size(0) != config.Clips || latents.Size(2) != config.LatentFrames)
            throw new CheckpointException($"{path} holds {latents.Size(0)} clips of {latents.Size(2)} latent frames, not what the configuration asks for: delete it");

        var identity = Identity(config);
        foreach (var key in (string[])[SeedKey, TurnsKey, ExtraKey])
        {
            if (file.Metadata.GetValueOrDefault(key) is var found && identity.GetValueOrDefault(key) is var wanted && found != wanted)
                throw new CheckpointException($"{path} holds clips of {key} {found ?? "unknown"}, not {wanted ?? "none"}: delete it");
        }

        return new SpriteLatents(TensorScope.Release(latents), config);
    }

    /// <summary>Some clips' latents, float32 [b, c, frames, h, w], and what each shows in its last frame.</summary>
    /// <param name="random">Chooses the clips.</param>
    /// <param name="count">How many.</param>
    /// <param name="frames">Their first frames only.</param>
    public (Tensor Latents, SpriteAttributes[] Attributes) Draw(SpriteRandom random, int count, int frames)
    {
        var index = Enumerable.Range(0, count).Select(_ => Clip(random)).ToArray();
        var some = latents.Narrow(2, 0, frames).IndexSelect(0, Tensor.From(index)).To(ElementType.Float32);
        return (some, [.. index.Select(i => Shown(i, frames - 1))]);
    }

    /// <inheritdoc/>
    public void Dispose() => latents.Dispose();

    // Any clip, or one of a shape that is drawn by its share first.
    private long Clip(SpriteRandom random)
    {
        if (config.ShapeShares is not { } shares)
            return random.NextInt(Count);
        var at = random.NextSingle() * shares.Sum();
        var shape = 0;
        while (shape < shares.Count - 1 && at >= shares[shape])
            at -= (float)shares[shape++];
        return clipsOfShape[shape][random.NextInt(clipsOfShape[shape].Length)];
    }

    private static long[][] ClipsOfShape(DitTrainingConfig config)
    {
        var clips = Enumerable.Range(0, config.Clips).ToLookup(clip => SpriteWorld.Scene(config.Seed, clip).Attributes.Shape, clip => (long)clip);
        return [.. Enum.GetValues<SpriteShape>().Select(shape => clips[shape].ToArray()
            is { Length: > 0 } some ? some : throw new ArgumentException($"none of {config.Clips} clips shows a {shape.ToString().ToLowerInvariant()}: raise clips or leave shape_shares out"))];
    }

    private static void Make(string path, DitTrainingConfig config, Func<Tensor, Tensor> encode,
        IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        using var outer = new TensorScope();
        Tensor? all = null;
        for (var clip = 0; clip < config.Clips; clip++)
        {
            cancel.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var one = encode(Video(config, clip)).To(ElementType.Float16);                                       // [1, c, t, h, w]
            all ??= scope.Keep(Tensor.Empty([config.Clips, .. one.Shape[1..]], ElementType.Float16));
            all.Narrow(0, clip, 1).CopyFrom(one);
            if (clip % 400 == 0)
                progress?.Report(new TrainingProgress(clip, config.Clips, 0, 0, "encoding clips"));
        }

        SafetensorsWriter.Write(path, [("latents", all!)], Identity(config));
    }

    private static Tensor Video(DitTrainingConfig config, long clip)
    {
        var frames = VideoLength.OfLatents(config.LatentFrames);
        return Turn(config, clip) is { } turn ? SpriteClips.ChannelsLast(turn.Render(frames)) : SpriteClips.RenderChannelsLast(Scene(config, clip), frames);
    }

    private static SpriteScene Scene(DitTrainingConfig config, long clip) => Painted(config, clip, SpriteWorld.Scene(config.Seed, clip));

    private static SpriteTurn? Turn(DitTrainingConfig config, long clip) =>
        SpriteTurn.Training(config.Seed, clip, config.TurnShare) is { } turn ? turn with { Start = Painted(config, clip, turn.Start) } : null;

    private static SpriteScene Painted(DitTrainingConfig config, long clip, SpriteScene scene) =>
        config.ExtraColour is { } colour ? new SpriteExtraColour(colour, config.ExtraColourShare).Paint(scene, config.Seed, clip) : scene;

    private static Dictionary<string, string> Identity(DitTrainingConfig config)
    {
        var identity = new Dictionary<string, string>
        {
            [SeedKey] = config.Seed.ToString(CultureInfo.InvariantCulture),
            [TurnsKey] = config.TurnShare.ToString(CultureInfo.InvariantCulture),
        };
        if (config.ExtraColour is { } colour)
            identity[ExtraKey] = FormattableString.Invariant($"{colour} {config.ExtraColourShare}");
        return identity;
    }

    // What the prompt says while a latent frame is made.
    private SpriteAttributes Shown(long clip, int unit) =>
        Turn(config, clip) is not { } turn ? Scene(config, clip).Attributes
        : VideoLength.OfLatents(unit) < turn.Frame ? turn.Before
        : turn.After;
}
