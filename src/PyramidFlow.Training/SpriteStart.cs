using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Training.Vae;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training;

/// <summary>What a transformer's training stands on: an encoder of videos, text encoders, and perhaps weights to go on from.</summary>
internal abstract class SpriteStart : IDisposable
{
    private const string MainWeights = "model.safetensors";

    private static readonly string[] TextParts = ["tokenizer", "tokenizer_2", "text_encoder", "text_encoder_2"];

    /// <summary>The VAE's run beside the transformer's, and new weights.</summary>
    /// <param name="folder">Folder of all runs of the model.</param>
    /// <param name="vaeConfig">The VAE run's copy of its configuration.</param>
    internal static SpriteStart FromVaeRun(string folder, string vaeConfig) => new VaeRunStart(folder, vaeConfig);

    /// <summary>A finished model, of which the transformer is trained further.</summary>
    /// <param name="folder">Model folder in the released layout.</param>
    /// <param name="cancel">Stops the reading off of the encoder.</param>
    internal static SpriteStart FromModel(string folder, CancellationToken cancel) => new ModelStart(CheckpointFolder.Open(folder), cancel);

    /// <summary>Puts tokenizers and text encoders into a model folder, if they are not there.</summary>
    internal void ProvideText(string model, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancel)
    {
        if (!File.Exists(Path.Combine(model, "text_encoder_2", MainWeights)))
            MakeText(model, seed, progress, cancel);
    }

    /// <summary>A video [1, frames, h, w, 3] to latents [1, c, t, h/8, w/8].</summary>
    internal abstract Tensor Encode(Tensor video);

    /// <summary>The VAE, to look at what the transformer makes; the caller's.</summary>
    /// <param name="type">Element type of its weights.</param>
    /// <exception cref="ArgumentException">The VAE's run made none yet.</exception>
    internal abstract CausalVideoVae OpenVae(ElementType type);

    /// <summary>Weights the transformer starts from; null draws new ones.</summary>
    internal abstract StateSource? OpenTransformer();

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Copies tokenizers and text encoders of one model folder into another.</summary>
    internal static void CopyText(string from, string to)
    {
        foreach (var part in TextParts)
            CopyFiles(Path.Combine(from, part), Path.Combine(to, part));
    }

    /// <summary>Copies the files of a folder.</summary>
    internal static void CopyFiles(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (var file in Directory.GetFiles(from))
            CopyFile(file, Path.Combine(to, Path.GetFileName(file)));
    }

    /// <summary>Copies a file, unless it is there already: a run may be gone on with by its own copy of the configuration, and a model be shipped over the one it started from.</summary>
    internal static void CopyFile(string from, string to)
    {
        if (Path.GetFullPath(from) == Path.GetFullPath(to))
            return;
        // Not written over: a pipeline may hold the old file mapped.
        using var copy = PartialFile.Create(to);
        using (var source = File.OpenRead(from))
            source.CopyTo(copy.Stream);
        copy.Commit();
    }

    private protected abstract void MakeText(string model, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancel);

    private sealed class VaeRunStart : SpriteStart
    {
        private const int TextSteps = 300;

        private readonly string weights;
        private readonly VaeTrainingConfig config;
        private readonly LinearAutoencoder encoder;

        internal VaeRunStart(string folder, string vaeConfig)
        {
            var maps = Path.Combine(folder, "vae", LinearStartFit.FileName);
            if (!File.Exists(maps))
                throw new ArgumentException($"{maps} is missing: run 'train vae --out {folder}' first");
            config = VaeTrainingConfig.Load(vaeConfig);
            weights = Path.Combine(folder, "vae", "vae.safetensors");
            encoder = LinearStartFit.Declare(config);
            using var source = SafetensorsFile.Open(maps);
            encoder.Load(source);
        }

        internal override Tensor Encode(Tensor video) => encoder.Encode(video).Permute(0, 4, 1, 2, 3);

        internal override CausalVideoVae OpenVae(ElementType type)
        {
            if (!File.Exists(weights))
                throw new ArgumentException($"{weights} is missing, without which there are no samples to look at: finish 'train vae' first, or leave samples out");
            var vae = new CausalVideoVae(config.Vae);
            using var source = SafetensorsFile.Open(weights);
            vae.Load(source, type);
            return vae;
        }

        internal override StateSource? OpenTransformer() => null;

        public override void Dispose() => encoder.Dispose();

        private protected override void MakeText(string model, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancel) =>
            SpriteTextEncoders.Make(model, seed, TextSteps, progress, cancel);
    }

    private sealed class ModelStart : SpriteStart
    {
        private readonly CheckpointFolder model;
        private readonly CancellationToken cancel;
        private BlockEncoder? encoder;

        internal ModelStart(CheckpointFolder model, CancellationToken cancel) => (this.model, this.cancel) = (model, cancel);

        // A run that goes on has its latents and never comes here.
        internal override Tensor Encode(Tensor video) => (encoder ??= ReadOff()).Encode(video);

        internal override CausalVideoVae OpenVae(ElementType type) => CausalVideoVae.Load(model.Vae, type);

        internal override StateSource OpenTransformer() => model.Transformer().OpenWeights();

        public override void Dispose() => encoder?.Dispose();

        private protected override void MakeText(string target, long seed, IProgress<TrainingProgress>? progress, CancellationToken cancel) =>
            CopyText(model.Root, target);

        private BlockEncoder ReadOff()
        {
            using var vae = OpenVae(ElementType.Float32);
            return BlockEncoder.Of(vae, cancel);
        }
    }
}
