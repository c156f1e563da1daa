using PyramidFlow.Generation;
using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

namespace PyramidFlow.Training.Dit;

/// <summary>The frozen models of a transformer's training: VAE and text encoders, as far as the data needs them.</summary>
internal sealed class DitDataModels : IDisposable
{
    private readonly DitDataConfig config;
    private readonly LatentNormalization normalization;
    private readonly CausalVideoVae? vae;
    private readonly PromptEncoder? prompts;
    private readonly TextItem? noText;

    /// <summary>Loads them.</summary>
    /// <param name="config">What is read of the data.</param>
    /// <param name="folder">The model folder.</param>
    /// <param name="device">Where to.</param>
    internal DitDataModels(DitDataConfig config, CheckpointFolder folder, Device device)
    {
        (this.config, Device) = (config, device);
        var settings = folder.Settings(config.Variant);
        normalization = settings.Latent;
        var vaeConfig = CausalVideoVaeConfig.Read(folder.Vae.ConfigFile);
        Channels = vaeConfig.EncoderOutChannels;
        if (config.Input == DitInput.Media)
        {
            vae = CausalVideoVae.Load(folder.Vae, config.ComputeType, device);
        }

        if (config.Captions == CaptionForm.Text || config.TextDrop > 0 || config.Samples is not null)
            prompts = PromptEncoder.Load(folder, config.ComputeType, device);
        if (config.Samples is { } samples)
        {
            Samples = new TransformerSamples(samples, settings with { FullSequence = config.Objective == TemporalObjective.FullSequence }, prompts!,
                () => CausalVideoVae.Load(folder.Vae, config.ComputeType, device));
        }

        if (config.Captions == CaptionForm.Features && prompts is not null)
        {
            // The one text that is not among the features; its encoders are let go.
            using var scope = new TensorScope();
            using var noGrad = NoGrad.Begin();
            var features = prompts.Encode([""]);
            noText = new TextItem(Flat(features.Tokens.Narrow(1, 0, features.Lengths[0])), features.Lengths[0], Flat(features.Pooled));
            prompts.Dispose();
            prompts = null;
        }
    }

    /// <summary>Makes what is looked at now and then; null where nothing is.</summary>
    internal TransformerSamples? Samples { get; }

    /// <summary>Channels of the latents.</summary>
    internal int Channels { get; }

    /// <summary>Where they are.</summary>
    internal Device Device { get; }

    /// <summary>Latents as the transformer sees them, float32; no gradients.</summary>
    /// <param name="content">Pixels or the VAE's latents.</param>
    /// <param name="arePixels">Which of the two.</param>
    /// <param name="draws">Source of the draws around the encoder's means.</param>
    internal Tensor Latents(Tensor content, bool arePixels, ITrainingDraws draws)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latents = arePixels
            ? LatentEncoding.Encode(vae!, normalization, content.To(Device).To(config.ComputeType), draws, config.VaeWindow)
            : normalization.Normalize(content.To(Device), isStart: true);
        return scope.Keep(latents.To(ElementType.Float32));
    }

    /// <summary>The text of some rows, without gradients.</summary>
    /// <param name="captions">Their captions.</param>
    /// <param name="features">What was read of them; null encodes the captions.</param>
    /// <param name="dropped">Which rows train without it.</param>
    internal TextCondition Text(IReadOnlyList<string> captions, PromptFeatures? features, bool[] dropped)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        if (features is null)
            return Keep(scope, Condition(prompts!.Encode([.. captions.Select((caption, row) => dropped[row] ? "" : caption)])));
        var text = Condition(features);
        return Keep(scope, noText is null ? text : text.Replace(dropped, Condition(TextItem.Batch([noText]))));
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        vae?.Dispose();
        prompts?.Dispose();
        Samples?.Dispose();
    }

    private static float[] Flat(Tensor tensor) => tensor.To(ElementType.Float32).ToArray<float>();

    private TextCondition Condition(PromptFeatures features) =>
        new(features.Tokens.To(Device), TextMask.OfLengths(features.Lengths), features.Pooled.To(Device));

    private static TextCondition Keep(TensorScope scope, TextCondition text) => new(scope.Keep(text.Tokens), text.Mask, scope.Keep(text.Pooled));
}
