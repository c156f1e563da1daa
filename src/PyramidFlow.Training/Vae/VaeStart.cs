using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Vae;

/// <summary>The networks a VAE's training starts from.</summary>
internal static class VaeStart
{
    /// <summary>The VAE's sizes: those of the configuration, or of what it starts from.</summary>
    /// <exception cref="CheckpointException">There is nothing to start from at that place, or it is of another network.</exception>
    internal static CausalVideoVaeConfig Config(VaeRunConfig config) =>
        config.Vae ?? (config.StartFrom is { } start && !File.Exists(start) ? CausalVideoVaeConfig.Read(VaeFolder.Find(start).ConfigFile) : CausalVideoVaeConfig.Released);

    /// <summary>The VAE with its first weights, float32.</summary>
    /// <exception cref="CheckpointException">The weights are damaged or of another network.</exception>
    internal static CausalVideoVae Vae(VaeRunConfig config, CausalVideoVaeConfig sizes, Device device)
    {
        var vae = new CausalVideoVae(sizes) { ConvolutionType = config.ComputeType == ElementType.Float32 ? null : config.ComputeType };
        if (config.StartFrom is { } start)
        {
            using var weights = File.Exists(start) ? WeightsFile.Open(start) : VaeFolder.Find(start).OpenWeights();
            vae.Load(weights, ElementType.Float32, device);
        }
        else
        {
            using var generator = new RandomGenerator((ulong)config.Seed);
            vae.Initialize(generator);
            vae.To(ElementType.Float32, device);
        }

        return vae;
    }

    /// <summary>The discriminator with its first weights, or null: those of the run the VAE comes from, else new ones.</summary>
    /// <exception cref="CheckpointException">The weights are damaged or of another network.</exception>
    internal static PatchDiscriminator? Discriminator(VaeRunConfig config, Device device)
    {
        if (config.Discriminator is not { } options)
            return null;
        var discriminator = new PatchDiscriminator(new DiscriminatorConfig(3, options.Width, options.Layers, options.Clips));
        var earlier = config.StartFrom is { } start ? Path.Combine(start, VaeTraining.DiscriminatorFile) : null;
        if (File.Exists(earlier))
        {
            using var weights = WeightsFile.Open(earlier);
            discriminator.Load(weights, ElementType.Float32, device);
        }
        else
        {
            using var generator = new RandomGenerator((ulong)config.Seed + 1);
            discriminator.Initialize(generator);
            discriminator.To(ElementType.Float32, device);
        }

        return discriminator;
    }

    /// <summary>The loss; frozen parts of it hold their weights, and it is on the device.</summary>
    internal static VaeLoss Loss(VaeRunConfig config, Lpips? lpips, PatchDiscriminator? discriminator, Device device)
    {
        var loss = new VaeLoss(config.Loss, lpips, discriminator);
        loss.To(ElementType.Float32, device);
        return loss;
    }
}
