using PyramidFlow.Generation;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Objectives;

namespace PyramidFlow.Training.Dit;

/// <summary>The frozen models of a transformer's training: the VAE and the text encoders that the data needs.</summary>
internal sealed class FrozenModels : IDisposable
{
    private readonly DitConfig config;
    private readonly LatentNormalization normalization;
    private readonly CausalVideoVae? vae;
    private readonly PromptEncoder? prompts;
    private readonly TextItem? noText, negative;

    /// <summary>Loads the models.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="folder">The model folder.</param>
    /// <param name="device">Target device.</param>
    /// <param name="emptyFeatures">File of the features of the empty caption; null encodes it where some samples train without their prompt.</param>
    /// <param name="teacher">Settings of the teacher of a distillation; null are those of the model.</param>
    /// <exception cref="TrainingException">The file holds no features, or those of another model.</exception>
    internal FrozenModels(DitConfig config, CheckpointFolder folder, Device device, string? emptyFeatures = null, PipelineSettings? teacher = null)
    {
        (this.config, Device) = (config, device);
        Settings = config.SettingsOf(teacher ?? folder.Settings(config.Variant));
        normalization = Settings.Latent;
        var vaeConfig = CausalVideoVaeConfig.Read(folder.Vae.ConfigFile);
        Channels = vaeConfig.EncoderOutChannels;
        if (config.Input == DitInput.Media)
        {
            vae = CausalVideoVae.Load(folder.Vae, config.ComputeType, device);
        }

        if (config.Captions == CaptionForm.Features && config.TextDrop > 0 && emptyFeatures is not null)
            noText = TextItemFile.Open(emptyFeatures);
        if (config.Captions == CaptionForm.Text || (config.TextDrop > 0 && noText is null) || config.Samples is not null || config.Distill?.Scales is not null)
            prompts = PromptEncoder.Load(folder, config.ComputeType, device);
        if (config.Samples is { } samples)
        {
            Samples = new TransformerSamples(samples, Settings, prompts!, () => CausalVideoVae.Load(folder.Vae, config.ComputeType, device));
        }

        if (config.Captions == CaptionForm.Features && prompts is not null)
        {
            // At most the empty caption and what guidance steers away from are left to encode; the encoders are freed.
            noText ??= config.TextDrop > 0 ? Encoded(prompts, "") : null;
            negative = config.Distill?.Scales is null ? null : Encoded(prompts, Settings.NegativePrompt);
            prompts.Dispose();
            prompts = null;
        }
    }

    /// <summary>Settings of pipelines that use the trained transformer.</summary>
    internal PipelineSettings Settings { get; }

    /// <summary>Generates samples; null if none are configured.</summary>
    internal TransformerSamples? Samples { get; }

    /// <summary>Channels of the latents.</summary>
    internal int Channels { get; }

    /// <summary>Device of the models.</summary>
    internal Device Device { get; }

    /// <summary>Normalised latents for the transformer, float32, without gradients.</summary>
    /// <param name="content">Pixels or the VAE's latents.</param>
    /// <param name="arePixels">Whether the content is pixels.</param>
    /// <param name="draws">Source of the random draws around the means.</param>
    internal Tensor Latents(Tensor content, bool arePixels, ITrainingDraws draws)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var latents = arePixels
            ? LatentEncoding.Encode(vae!, normalization, content.To(Device).To(config.ComputeType), draws, config.VaeWindow)
            : normalization.Normalize(content.To(Device), isStart: true);
        return scope.Keep(latents.To(ElementType.Float32));
    }

    /// <summary>Text condition of some rows, without gradients.</summary>
    /// <param name="captions">Caption of each row.</param>
    /// <param name="features">Extracted features; null encodes the captions.</param>
    /// <param name="dropped">Rows that train without a prompt.</param>
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

    /// <summary>What the guidance of a teacher steers away from, one row; only where a distillation learns guidance.</summary>
    /// <param name="text">The negative prompt.</param>
    internal TextCondition Negative(string text)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        return Keep(scope, Condition(negative is { } known ? TextItem.Batch([known]) : prompts!.Encode([text])));
    }

    private static TextItem Encoded(PromptEncoder prompts, string text)
    {
        using var scope = new TensorScope();
        using var noGrad = NoGrad.Begin();
        var features = prompts.Encode([text]);
        return new TextItem(Flat(features.Tokens.Narrow(1, 0, features.Lengths[0])), features.Lengths[0], Flat(features.Pooled));
    }

    private static float[] Flat(Tensor tensor) => tensor.To(ElementType.Float32).ToArray<float>();

    private TextCondition Condition(PromptFeatures features) =>
        new(features.Tokens.To(Device), TextMask.OfLengths(features.Lengths), features.Pooled.To(Device));

    private static TextCondition Keep(TensorScope scope, TextCondition text) => new(scope.Keep(text.Tokens), text.Mask, scope.Keep(text.Pooled));
}

/// <summary>Encodes pixels to the latents that a transformer trains on.</summary>
internal static class LatentEncoding
{
    /// <summary>Encodes videos or images, samples from the posterior, and normalises the latents; no gradients.</summary>
    /// <param name="vae">The encoder.</param>
    /// <param name="normalization">Latent statistics of the transformer.</param>
    /// <param name="pixels">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w].</param>
    /// <param name="draws">Source of the random draws around the means; null uses the means.</param>
    /// <param name="window">Frames to encode at a time after the first, a multiple of 8; null encodes all at once.</param>
    /// <returns>Normalised latents, [b, c, 1 + n, h, w].</returns>
    public static Tensor Encode(CausalVideoVae vae, LatentNormalization normalization, Tensor pixels, ITrainingDraws? draws, int? window = null)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var posterior = vae.Encode(pixels, window);
        var latents = draws is null ? posterior.Mode
            : posterior.Sample(draws.Normal(posterior.Mean.Shape).To(posterior.Mean.Type).To(posterior.Mean.Device));
        return scope.Keep(normalization.Normalize(latents, isStart: true));
    }
}
