using PyramidFlow.Models;
using PyramidFlow.Media;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;
using PyramidFlow.Training.Loop;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Vae;

/// <summary>Trains a causal video VAE, and optionally a discriminator, on clips and images.</summary>
internal sealed class VaeTrainer : ITraining, IDisposable
{
    /// <summary>File of the discriminator's weights in a run folder.</summary>
    public const string DiscriminatorFile = "discriminator.safetensors";

    private const string DiscriminatorName = "discriminator";

    private readonly VaeConfig config;
    private readonly RunFolder run;
    private readonly CausalVideoVae vae;
    private readonly VaeLoss loss;
    private readonly Func<long, Tensor> clips;
    private readonly IReadOnlyList<Func<Tensor>> heldOut;
    private readonly TrainingPart generator;
    private readonly TrainingPart? judge;

    /// <summary>Creates the trainer; all weights must be float32.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="run">Folder of the run.</param>
    /// <param name="vae">The VAE; the caller keeps ownership.</param>
    /// <param name="loss">The configured loss; the caller keeps ownership.</param>
    /// <param name="discriminator">The discriminator of the loss, or null.</param>
    /// <param name="clips">Returns the clips of a batch number: pixels in -1 to 1, [b, 3, t, h, w], on the VAE's device.</param>
    /// <param name="heldOut">Clips for evaluation, [1, 3, t, h, w] each.</param>
    /// <param name="group">Process group of the training; null trains in this process alone.</param>
    public VaeTrainer(VaeConfig config, RunFolder run, CausalVideoVae vae, VaeLoss loss, PatchDiscriminator? discriminator,
        Func<long, Tensor> clips, IReadOnlyList<Func<Tensor>> heldOut, ProcessGroup? group = null)
    {
        (this.config, this.run, this.vae, this.loss, this.clips, this.heldOut) = (config, run, vae, loss, clips, heldOut);
        vae.TrainsEncoder = !config.FreezeEncoder;
        vae.UsesGradientCheckpointing = config.CheckpointRatio > 0;

        // As in the released trainer: no decay for biases and norm scales, and float32 weights for any compute type of the convolutions.
        var options = new PartOptions { Group = group, DecayMatricesOnly = true, ComputeType = ElementType.Float32 };
        generator = new TrainingPart("", config, options, ("", vae));
        judge = discriminator is null ? null : new TrainingPart(DiscriminatorName, config,
            options with { LearningRate = config.Discriminator?.LearningRate, IsAveraged = false }, ("", discriminator));
    }

    /// <inheritdoc/>
    public string Identity => $"vae seed {config.Seed} {vae.Config.ToJson()} encoder {(vae.TrainsEncoder ? "trained" : "frozen")}{(judge is null ? "" : " with discriminator")}";

    /// <summary>Called by rank zero once the folder is its own.</summary>
    internal Action OnBegin { get; init; } = () => { };

    /// <summary>Called with every checkpoint.</summary>
    internal Action OnPublish { get; init; } = () => { };

    /// <inheritdoc/>
    public void BeginRun() => OnBegin();

    /// <inheritdoc/>
    public IReadOnlyList<TrainingPart> Parts => judge is null ? [generator] : [generator, judge];

    /// <inheritdoc/>
    public TrainingData? Data { get; init; }

    /// <inheritdoc/>
    public TrainingPlan? Plan { get; init; }

    /// <inheritdoc/>
    public BatchLosses Backward(MicroBatch batch)
    {
        using var scope = new TensorScope();
        using var draws = batch.Draws();
        var noise = new GeneratorDraws(draws);
        var video = clips(batch.Number);                                                            // [b, 3, t, h, w]
        var (terms, judged) = config.Windows == 1 || video.Size(2) == 1
            ? VaeStep.Backward(vae, loss, video, noise, batch.Step, batch.Scale)
            : VaeStep.BackwardInWindows(vae, loss, video, config.Windows, noise, batch.Step, batch.Scale);
        return new BatchLosses(terms.Reconstruction + (config.KlWeight * terms.Kl), Named(terms, judged), video.Size(0) * video.Size(2) * video.Size(3) * video.Size(4));
    }

    /// <inheritdoc/>
    public IEnumerable<(string Key, Tensor Tensor)> Inputs(MicroBatch batch) => [("video", clips(batch.Number))];

    /// <summary>Writes <c>causal_video_vae</c> to the run folder, and evaluates the held-out clips.</summary>
    public IReadOnlyList<(string Name, double Value)> Publish()
    {
        OnPublish();
        using var scope = new TensorScope();
        var frozen = vae.NamedParameters().Where(p => !p.Parameter.Trainable).Select(p => (p.Key, p.Parameter.Value));
        VaeFolder.Write(run.File(CheckpointNames.Vae), vae.Config, [.. generator.Averaged, .. frozen]);
        if (judge is not null)
            SafetensorsWriter.Write(run.File(DiscriminatorFile), judge.Averaged);
        if (heldOut.Count == 0)
            return [];
        var quality = generator.WithAverage(() => heldOut.Select(Measure).ToList());
        return [("psnr", quality.Average()), ("psnr_worst", quality.Min())];
    }

    /// <inheritdoc/>
    public bool Sample(string path, CancellationToken cancellationToken)
    {
        if (heldOut.Count == 0)
            return false;
        using var scope = new TensorScope();
        var rows = generator.WithAverage(() => heldOut.Select(clip =>
        {
            cancellationToken.ThrowIfCancellationRequested();
            var video = clip();
            return (video, Reconstruction.Compute(vae, video));
        }).ToList());
        PngWriter.Write(path, Reconstruction.Sheet(rows));
        return true;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        generator.Dispose();
        judge?.Dispose();
    }

    private double Measure(Func<Tensor> clip)
    {
        using var scope = new TensorScope();
        var video = clip();
        return Reconstruction.PeakSignalToNoise(video, Reconstruction.Compute(vae, video));
    }

    // The names are the same for every batch, also before the discriminator starts.
    private List<(string Name, double Value)> Named(VaeLossTerms terms, DiscriminatorTerms? judged)
    {
        List<(string, double)> named = [("pixel", terms.Pixel), ("kl", terms.Kl)];
        if (config.PerceptualWeight > 0)
            named.Add(("perceptual", terms.Perceptual));
        if (judge is not null)
        {
            named.AddRange([("adversarial", terms.Adversarial), ("adversarial_weight", terms.AdversarialWeight), ("discriminator", judged?.Loss ?? 0),
                ("real", judged?.Real ?? 0), ("fake", judged?.Fake ?? 0)]);
        }

        return named;
    }
}
