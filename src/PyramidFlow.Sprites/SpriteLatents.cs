using System.Globalization;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Sprites;

/// <summary>Cached latents of clips of the sprites world, memory-mapped.</summary>
internal sealed class SpriteLatents : IDisposable
{
    private const string SeedKey = "seed", TurnsKey = "turn_share", ExtraKey = "extra_colour", FirstKey = "first";

    private readonly Tensor latents;
    private readonly SpriteDitConfig config;
    private readonly int first;
    private readonly long[][] clipsOfShape;

    private SpriteLatents(Tensor latents, SpriteDitConfig config, int first)
    {
        (this.latents, this.config, this.first) = (latents, config, first);
        clipsOfShape = config.ShapeShares is null || first > 0 ? [] : ClipsOfShape(config);
    }

    /// <summary>Number of clips.</summary>
    public int Count => (int)latents.Size(0);

    /// <summary>Latent frames of a clip.</summary>
    public int Frames => (int)latents.Size(2);

    /// <summary>
    /// Opens the cache of the held-out clips, and creates it if it is missing: those that come after the clips that are trained on. Null where nothing is held out.
    /// </summary>
    /// <inheritdoc cref="OpenOrMake(string, SpriteDitConfig, Func{Tensor, Tensor}, IProgress{TrainingProgress}?, CancellationToken)"/>
    public static SpriteLatents? OpenOrMakeHeldOut(string path, SpriteDitConfig config, Func<Tensor, Tensor> encode,
        IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) =>
        config.HeldOutOf(config.Clips) is > 0 and var count ? OpenOrMake(path, config, (config.Clips, count), encode, progress, cancellationToken) : null;

    /// <summary>Opens the cache, and creates it if it is missing.</summary>
    /// <param name="path">The file of the cache.</param>
    /// <param name="config">Seed, number of clips and their length.</param>
    /// <param name="encode">Encodes a video [1, frames, h, w, 3] to latents [1, c, t, h/8, w/8].</param>
    /// <param name="progress">Reports progress; null reports nothing.</param>
    /// <param name="cancellationToken">Checked before every clip.</param>
    public static SpriteLatents OpenOrMake(string path, SpriteDitConfig config, Func<Tensor, Tensor> encode,
        IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) => OpenOrMake(path, config, (0, config.Clips), encode, progress, cancellationToken);

    private static SpriteLatents OpenOrMake(string path, SpriteDitConfig config, (int First, int Count) clips, Func<Tensor, Tensor> encode,
        IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        if (!File.Exists(path))
            Make(path, config, clips, encode, progress, cancellationToken);
        using var file = SafetensorsFile.Open(path);
        var latents = file.Read("latents");
        if (latents.Size(0) != clips.Count || latents.Size(2) != config.LatentFrames)
            throw CheckpointFault.OtherClips(path, latents.Size(0), latents.Size(2));

        var identity = Identity(config, clips.First);
        foreach (var key in (string[])[SeedKey, TurnsKey, ExtraKey, FirstKey])
        {
            if (file.Metadata.GetValueOrDefault(key) is var found && identity.GetValueOrDefault(key) is var wanted && found != wanted)
                throw CheckpointFault.OtherClips(path, key, found, wanted);
        }

        return new SpriteLatents(TensorScope.Release(latents), config, clips.First);
    }

    /// <summary>One clip: latents, float32 [1, c, frames, h, w], and the attributes of its last frame.</summary>
    /// <param name="clip">Number of the clip in the cache, from 0.</param>
    /// <param name="frames">Number of frames from its start.</param>
    public (Tensor Latents, SpriteAttributes Attributes) One(int clip, int frames)
    {
        using var scope = new TensorScope();
        return (scope.Keep(latents.Narrow(0, clip, 1).Narrow(2, 0, frames).To(ElementType.Float32).Contiguous()), Shown(first + clip, frames - 1));
    }

    /// <summary>Draws clips: latents, float32 [b, c, frames, h, w], and the attributes of the last frame of each.</summary>
    /// <param name="random">Random numbers.</param>
    /// <param name="count">Number of clips.</param>
    /// <param name="frames">Number of frames from the start of each clip.</param>
    public (Tensor Latents, SpriteAttributes[] Attributes) Draw(KeyedRandom random, int count, int frames)
    {
        var index = Enumerable.Range(0, count).Select(_ => Clip(random)).ToArray();
        var some = latents.Narrow(2, 0, frames).IndexSelect(0, Tensor.From(index)).To(ElementType.Float32);
        return (some, [.. index.Select(i => Shown(i, frames - 1))]);
    }

    /// <inheritdoc/>
    public void Dispose() => latents.Dispose();

    // Any clip, or one of a shape drawn by its weight.
    private long Clip(KeyedRandom random)
    {
        if (config.ShapeShares is not { } shares)
            return random.NextInt(Count);
        var at = random.NextSingle() * shares.Sum();
        var shape = 0;
        while (shape < shares.Count - 1 && at >= shares[shape])
            at -= (float)shares[shape++];
        return clipsOfShape[shape][random.NextInt(clipsOfShape[shape].Length)];
    }

    private static long[][] ClipsOfShape(SpriteDitConfig config)
    {
        var clips = Enumerable.Range(0, config.Clips).ToLookup(clip => SpriteWorld.Scene(config.Seed, clip).Attributes.Shape, clip => (long)clip);
        return [.. Enum.GetValues<SpriteShape>().Select(shape => clips[shape].ToArray()
            is { Length: > 0 } some ? some : throw TrainingFault.ShapeWithoutClip(config.Clips, shape.ToString().ToLowerInvariant()))];
    }

    private static void Make(string path, SpriteDitConfig config, (int First, int Count) clips, Func<Tensor, Tensor> encode,
        IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var outer = new TensorScope();
        Tensor? all = null;
        for (var clip = 0; clip < clips.Count; clip++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var scope = new TensorScope();
            var one = encode(Video(config, clips.First + clip)).To(ElementType.Float16);                                       // [1, c, t, h, w]
            all ??= scope.Keep(Tensor.Empty([clips.Count, .. one.Shape[1..]], ElementType.Float16));
            all.Narrow(0, clip, 1).CopyFrom(one);
            if (clip % 400 == 0)
                progress?.Report(new TrainingProgress(clip, clips.Count, 0, 0, "encoding clips"));
        }

        SafetensorsWriter.Write(path, [("latents", all!)], Identity(config, clips.First));
    }

    private static Tensor Video(SpriteDitConfig config, long clip)
    {
        var frames = VideoLength.OfLatents(config.LatentFrames);
        return Turn(config, clip) is { } turn ? SpriteClips.ChannelsLast(turn.Render(frames)) : SpriteClips.RenderChannelsLast(Scene(config, clip), frames);
    }

    private static SpriteScene Scene(SpriteDitConfig config, long clip) => Painted(config, clip, SpriteWorld.Scene(config.Seed, clip));

    private static SpriteTurn? Turn(SpriteDitConfig config, long clip) =>
        SpriteTurn.Training(config.Seed, clip, config.TurnShare) is { } turn ? turn with { Start = Painted(config, clip, turn.Start) } : null;

    private static SpriteScene Painted(SpriteDitConfig config, long clip, SpriteScene scene) =>
        config.ExtraColour is { } colour ? new SpriteExtraColour(colour, config.ExtraColourShare).Paint(scene, config.Seed, clip) : scene;

    private static Dictionary<string, string> Identity(SpriteDitConfig config, int first)
    {
        var identity = new Dictionary<string, string>
        {
            [SeedKey] = config.Seed.ToString(CultureInfo.InvariantCulture),
            [TurnsKey] = config.TurnShare.ToString(CultureInfo.InvariantCulture),
        };
        if (config.ExtraColour is { } colour)
            identity[ExtraKey] = FormattableString.Invariant($"{colour} {config.ExtraColourShare}");
        if (first > 0)
            identity[FirstKey] = first.ToString(CultureInfo.InvariantCulture);
        return identity;
    }

    // Attributes of the prompt at a latent frame.
    private SpriteAttributes Shown(long clip, int unit) =>
        Turn(config, clip) is not { } turn ? Scene(config, clip).Attributes
        : VideoLength.OfLatents(unit) < turn.Frame ? turn.Before
        : turn.After;
}
