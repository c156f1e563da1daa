using PyramidFlow.Generation;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>Generates clips with a transformer during its training, always from the same prompts and noise, as a contact sheet.</summary>
internal sealed class TransformerSamples : IDisposable
{
    private readonly GenerationOptions[] requests;
    private readonly PipelineSettings settings;
    private readonly EncodedPrompts prompts;
    private readonly Func<CausalVideoVae> openVae;
    private readonly (int Width, int Height) size;

    /// <summary>Validates the options and encodes the prompts; the text encoders are not needed afterwards.</summary>
    /// <param name="options">The samples to generate.</param>
    /// <param name="settings">Defaults of the model.</param>
    /// <param name="encoder">Text encoders; the caller keeps ownership.</param>
    /// <param name="openVae">Opens the VAE with the element type and device of the transformer; it is freed after each sheet.</param>
    /// <exception cref="TrainingException">A value is invalid for the model.</exception>
    public TransformerSamples(SampleOptions options, PipelineSettings settings, PromptEncoder encoder, Func<CausalVideoVae> openVae)
    {
        (this.settings, this.openVae) = (settings, openVae);
        requests = [.. options.Requests()];
        var clips = Resolve(options, settings);
        size = (clips[0].Width, clips[0].Height);
        prompts = new EncodedPrompts(encoder, clips.SelectMany(clip => (string[])[clip.Prompt, .. clip.IsGuided ? [clip.NegativePrompt] : Array.Empty<string>()]));
    }

    /// <summary>The clips of the samples.</summary>
    /// <param name="options">The samples to generate; null generates none.</param>
    /// <param name="settings">Defaults of the model.</param>
    /// <exception cref="TrainingException">A value is invalid for the model.</exception>
    internal static IReadOnlyList<GenerationSettings> Resolve(SampleOptions? options, PipelineSettings settings)
    {
        try
        {
            return [.. (options?.Requests() ?? []).Select(request => request.Resolve(settings))];
        }
        catch (RequestException e)
        {
            // What is impossible stands in a configuration, not on the command line.
            throw TrainingFault.SamplesImpossible(e);
        }
    }

    /// <summary>Generates the clips and writes the sheet: one row per prompt, frames from first to last as columns.</summary>
    /// <param name="path">PNG file; replaced when the new one is complete.</param>
    /// <param name="transformer">The transformer with its current weights.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <exception cref="MediaException">The file cannot be written.</exception>
    public void Write(string path, PyramidTransformer transformer, CancellationToken cancellationToken)
    {
        using var vae = openVae();
        using var pipeline = VideoPipeline.Of(prompts, transformer, vae, settings);
        var rows = new List<byte[]>();
        foreach (var request in requests)
        {
            using var scope = new TensorScope();
            rows.Add(pipeline.Decode(pipeline.GenerateLatents(request, null, cancellationToken)));
        }

        PngWriter.Write(path, ContactSheet.Compose(rows, size.Width, size.Height));
    }

    /// <inheritdoc/>
    public void Dispose() => prompts.Dispose();
}

/// <summary>Samples to generate during a transformer's training: the key <c>samples</c>. Omitted values use the model's defaults.</summary>
public sealed record SampleOptions
{
    /// <summary>Prompts, one clip each.</summary>
    public required IReadOnlyList<string> Prompts { get; set; }

    /// <summary>Size in pixels, such as <c>640x384</c>.</summary>
    public string? Size { get; set; }

    /// <summary>Frames of a clip, 1 + a multiple of 8; 1 generates images.</summary>
    public int? Frames { get; set; }

    /// <summary>Denoising steps of the first unit for each stage, lowest resolution first.</summary>
    public IReadOnlyList<int>? Steps { get; set; }

    /// <summary>Denoising steps of the later units for each stage.</summary>
    public IReadOnlyList<int>? VideoSteps { get; set; }

    /// <summary>Guidance scale of the first unit; 0 is off.</summary>
    public double? Guidance { get; set; }

    /// <summary>Guidance scale of the later units; 0 is off.</summary>
    public double? VideoGuidance { get; set; }

    /// <summary>Seed of the noise, the same for all sheets; prompt i uses <c>seed</c> + i.</summary>
    public long Seed { get; set; }

    /// <summary>The error for the first value that is invalid for any model; null if there is none.</summary>
    internal static TrainingException? Fault(string file, SampleOptions? samples, int every) =>
        samples is null ? every > 0 ? TrainingFault.SamplesMissing(file, every) : null
        : every == 0 ? TrainingFault.SampleEveryMissing(file)
        : samples.Prompts.Count == 0 ? TrainingFault.SamplesWithoutPrompts(file)
        : null;

    /// <summary>One request per prompt.</summary>
    /// <exception cref="TrainingException">The size is malformed.</exception>
    internal IEnumerable<GenerationOptions> Requests()
    {
        var size = Size is null ? ((int Width, int Height)?)null : Buckets.Size(Size);
        return Prompts.Select((prompt, i) => new GenerationOptions
        {
            Prompt = prompt, Width = size?.Width, Height = size?.Height, Frames = Frames, Steps = Steps, VideoSteps = VideoSteps,
            Guidance = Guidance, VideoGuidance = VideoGuidance, Seed = unchecked((ulong)(Seed + i)),
        });
    }
}

/// <summary>Encoded prompts that replace the text encoders, so that these can be freed.</summary>
internal sealed class EncodedPrompts : PromptEncoder
{
    private readonly Dictionary<string, PromptFeatures> features = [];

    /// <summary>Encodes prompts one by one.</summary>
    /// <param name="encoder">The text encoders; the caller keeps ownership.</param>
    /// <param name="texts">All prompts that will be requested.</param>
    internal EncodedPrompts(PromptEncoder encoder, IEnumerable<string> texts)
    {
        (TokenWidth, PooledWidth) = (encoder.TokenWidth, encoder.PooledWidth);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        foreach (var text in texts.Distinct())
        {
            var encoded = encoder.Encode([text]);
            features[text] = encoded with { Tokens = TensorScope.Release(encoded.Tokens.Clone()), Pooled = TensorScope.Release(encoded.Pooled.Clone()) };
        }
    }

    /// <inheritdoc/>
    public override long TokenWidth { get; }

    /// <inheritdoc/>
    public override long PooledWidth { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Module> Models => [];

    /// <summary>Features of one of the prompts.</summary>
    /// <param name="prompts">A single prompt.</param>
    public override PromptFeatures Encode(IReadOnlyList<string> prompts)
    {
        var known = features[prompts.Single()];
        return known with { Tokens = known.Tokens.Clone(), Pooled = known.Pooled.Clone() };
    }

    /// <inheritdoc/>
    public override void Dispose()
    {
        foreach (var known in features.Values)
        {
            known.Tokens.Dispose();
            known.Pooled.Dispose();
        }

        base.Dispose();
    }
}
