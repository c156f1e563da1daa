using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Vae;

namespace PyramidFlow.Sprites;

/// <summary>The models that a transformer's training builds on: video encoder, text encoders, and optional initial weights.</summary>
internal abstract class SpriteStart : IDisposable
{
    private const string MainWeights = "model.safetensors";

    private static readonly string[] TextParts = ["tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"];

    /// <summary>Starts from the VAE run in the same folder, with new weights.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="vaeConfig">Copy of the configuration in the VAE run.</param>
    internal static SpriteStart FromVaeRun(string folder, string vaeConfig) => new VaeRunStart(folder, vaeConfig);

    /// <summary>Starts from a finished model.</summary>
    /// <param name="folder">Model folder in the released layout.</param>
    /// <param name="cancellationToken">Cancels the fit of the encoder.</param>
    internal static SpriteStart FromModel(string folder, CancellationToken cancellationToken) => new ModelStart(CheckpointFolder.Open(folder), cancellationToken);

    /// <summary>Adds tokenizers and text encoders to a model folder if they are missing.</summary>
    internal void ProvideText(string model, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken)
    {
        if (!File.Exists(Path.Combine(model, "text_encoder_2", MainWeights)))
            MakeText(model, seed, progress, cancellationToken);
    }

    /// <summary>Encodes a video [1, frames, h, w, 3] to latents [1, c, t, h/8, w/8].</summary>
    internal abstract Tensor Encode(Tensor video);

    /// <summary>Opens the VAE that decodes samples; the caller disposes it.</summary>
    /// <param name="type">Element type of its weights.</param>
    /// <exception cref="TrainingException">The VAE run has no weights yet.</exception>
    internal abstract CausalVideoVae OpenVae(ElementType type);

    /// <summary>Opens the initial weights of the transformer; null draws new ones.</summary>
    internal abstract StateSource? OpenTransformer();

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Folders of the tokenizers and text encoders of a model.</summary>
    internal static IReadOnlyList<ComponentFolder> TextFolders(string model) => [.. TextParts.Select(part => new ComponentFolder(part, Path.Combine(model, part)))];

    /// <summary>Copies tokenizers and text encoders from one model folder to another.</summary>
    internal static void CopyText(string from, string to)
    {
        foreach (var part in TextParts)
            CopyFiles(Path.Combine(from, part), Path.Combine(to, part));
    }

    private static void CopyFiles(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from))
            RunFolder.CopyFile(file, Path.Combine(to, Path.GetFileName(file)));
    }

    private protected abstract void MakeText(string model, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken);

    private sealed class VaeRunStart : SpriteStart
    {
        private const int TextSteps = 300;

        private readonly string weights;
        private readonly SpriteVaeConfig config;
        private readonly LinearAutoencoder encoder;

        internal VaeRunStart(string folder, string vaeConfig)
        {
            var maps = Path.Combine(folder, "vae", LinearStartFit.FileName);
            if (!File.Exists(maps))
                throw TrainingFault.VaeRunMissing(maps, folder);
            config = SpriteVaeConfig.Load(vaeConfig);
            weights = VaeFolder.Weights(Path.Combine(folder, "vae", CheckpointNames.Vae));
            encoder = LinearStartFit.Declare(config);
            using var source = SafetensorsFile.Open(maps);
            encoder.Load(source);
        }

        internal override Tensor Encode(Tensor video) => encoder.Encode(video).Permute(0, 4, 1, 2, 3);

        internal override CausalVideoVae OpenVae(ElementType type)
        {
            if (!File.Exists(weights))
                throw TrainingFault.VaeRunUnfinished(weights);
            var vae = new CausalVideoVae(config.Vae);
            using var source = SafetensorsFile.Open(weights);
            vae.Load(source, type);
            return vae;
        }

        internal override StateSource? OpenTransformer() => null;

        public override void Dispose() => encoder.Dispose();

        private protected override void MakeText(string model, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) =>
            SpriteTextEncoders.Make(model, seed, TextSteps, progress, cancellationToken);
    }

    private sealed class ModelStart : SpriteStart
    {
        private readonly CheckpointFolder model;
        private readonly CancellationToken cancellationToken;
        private BlockEncoder? encoder;

        internal ModelStart(CheckpointFolder model, CancellationToken cancellationToken) => (this.model, this.cancellationToken) = (model, cancellationToken);

        // A resumed run has its latents already and never needs the encoder.
        internal override Tensor Encode(Tensor video) => (encoder ??= ReadOff()).Encode(video);

        internal override CausalVideoVae OpenVae(ElementType type) => CausalVideoVae.Load(model.Vae, type);

        internal override StateSource OpenTransformer() => model.Transformer().OpenWeights();

        public override void Dispose() => encoder?.Dispose();

        private protected override void MakeText(string target, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancellationToken) =>
            CopyText(model.Root, target);

        private BlockEncoder ReadOff()
        {
            using var vae = OpenVae(ElementType.Float32);
            return BlockEncoder.Fit(vae, cancellationToken);
        }
    }
}

/// <summary>
/// A trained encoder of the sprites world as two matrices. It was made from linear maps of 8x8 pixels x 8 frames (<see cref="LinearStart"/>), so
/// that a few clips determine it; the matrices are a hundred times faster.
/// </summary>
internal sealed class BlockEncoder : IDisposable
{
    private const int Clips = 8, Frames = 17, Block = 8;
    private const double NoiseLevel = 0.1, Ridge = 1e-7;
    private const long Stream = 400;

    private readonly Tensor first;
    private readonly Tensor later;

    private BlockEncoder(Tensor first, Tensor later) => (this.first, this.later) = (first, later);

    /// <summary>Fits the matrices by least squares to noisy training clips.</summary>
    /// <param name="vae">The VAE, in float32.</param>
    /// <param name="cancellationToken">Checked before every clip.</param>
    public static BlockEncoder Fit(CausalVideoVae vae, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var noise = new RandomGenerator(Stream);
        var videos = new List<Tensor>();
        var latents = new List<Tensor>();
        for (var i = 0; i < Clips; i++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            var clean = SpriteClips.RenderChannelsLast(SpriteWorld.Scene(Stream, i), Frames);                  // [1, t, h, w, 3]
            var video = clean.Add(Tensor.Randn(clean.Shape, noise), NoiseLevel);
            videos.Add(inner.Keep(video));
            latents.Add(inner.Keep(vae.Encode(video.Permute(0, 4, 1, 2, 3).Contiguous()).Mode.Permute(0, 2, 3, 4, 1)));
        }

        var (pixels, codes) = (Tensor.Cat([.. videos], 0), Tensor.Cat([.. latents], 0));                       // [b, t', h/8, w/8, c]
        var units = codes.Size(1) - 1;
        return new BlockEncoder(
            TensorScope.Release(Solve(Blocks(pixels.Narrow(1, 0, 1), 1), codes.Narrow(1, 0, 1))),
            TensorScope.Release(Solve(Blocks(pixels.Narrow(1, 1, Block * units), Block), codes.Narrow(1, 1, units))));
    }

    /// <summary>Encodes a video [b, 1 + 8n, h, w, 3] in [-1, 1] to latents [b, c, 1 + n, h/8, w/8].</summary>
    public Tensor Encode(Tensor video)
    {
        using var scope = new TensorScope();
        var start = Blocks(video.Narrow(1, 0, 1), 1).Matmul(first);                                            // [b, 1, h/8, w/8, c]
        var rest = Blocks(video.Narrow(1, 1, video.Size(1) - 1), Block).Matmul(later);                         // [b, n, h/8, w/8, c]
        return scope.Keep(Tensor.Cat([start, rest], 1).Permute(0, 4, 1, 2, 3));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        first.Dispose();
        later.Dispose();
    }

    // Each block as a row of its pixels and a 1 for the bias.
    private static Tensor Blocks(Tensor video, int frames)
    {
        var s = video.Shape;                                                                                   // [b, t, h, w, 3]
        var rows = video.Reshape(s[0], s[1] / frames, frames, s[2] / Block, Block, s[3] / Block, Block, s[4])
            .Permute(0, 1, 3, 5, 2, 4, 6, 7).Flatten(4, 7);                                                    // [b, t/f, h/8, w/8, p]
        return Tensor.Cat([rows, Tensor.Ones([.. rows.Shape[..^1], 1])], -1);
    }

    private static Tensor Solve(Tensor inputs, Tensor outputs)
    {
        var x = inputs.Flatten(0, 3).To(ElementType.Float64);                                                  // [n, p + 1]
        var y = outputs.Flatten(0, 3).To(ElementType.Float64);                                                 // [n, c]
        var transposed = x.Transpose(0, 1);
        var square = transposed.Matmul(x);
        var ridge = Tensor.Eye(square.Size(0), ElementType.Float64) * (Ridge * x.Size(0));
        return (square + ridge).Inverse().Matmul(transposed.Matmul(y)).To(ElementType.Float32);                // [p + 1, c]
    }
}
