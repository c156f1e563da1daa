using PyramidFlow.Generation;
using PyramidFlow.Hub;
using PyramidFlow.Media;
using PyramidFlow.Models;
using PyramidFlow.Models.Text;
using PyramidFlow.Models.Vae;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;
using PyramidFlow.Training.Loop;

namespace PyramidFlow.Training.Dit;

/// <summary>Makes a few clips with a transformer that is being trained, always of the same prompts and noise, as a contact sheet.</summary>
public sealed class TransformerSamples : IDisposable
{
    private readonly GenerationOptions[] requests;
    private readonly PipelineSettings settings;
    private readonly EncodedPrompts prompts;
    private readonly Func<CausalVideoVae> openVae;
    private readonly (int Width, int Height) size;

    /// <summary>Checks what is asked for, and encodes the prompts: the text encoders are not needed any more.</summary>
    /// <param name="options">What to make.</param>
    /// <param name="settings">The model's defaults.</param>
    /// <param name="encoder">Text encoders; they stay the caller's.</param>
    /// <param name="openVae">Opens the VAE, in the element type and on the device of the transformer; it is freed after each sheet.</param>
    /// <exception cref="ArgumentException">A value is impossible for the model.</exception>
    public TransformerSamples(SampleOptions options, PipelineSettings settings, PromptEncoder encoder, Func<CausalVideoVae> openVae)
    {
        (this.settings, this.openVae) = (settings, openVae);
        requests = [.. options.Requests()];
        var clips = requests.Select(request => request.Resolve(settings)).ToList();
        size = (clips[0].Width, clips[0].Height);
        prompts = new EncodedPrompts(encoder, clips.SelectMany(clip => (string[])[clip.Prompt, .. clip.IsGuided ? [clip.NegativePrompt] : Array.Empty<string>()]));
    }

    /// <summary>Makes the clips and writes the sheet: a row for each prompt, frames from first to last as columns.</summary>
    /// <param name="path">PNG file; it appears when it is whole.</param>
    /// <param name="transformer">The transformer, with the weights to look at.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <exception cref="MediaException">The file cannot be written.</exception>
    public void Write(string path, PyramidTransformer transformer, CancellationToken cancellationToken)
    {
        using var vae = openVae();
        using var pipeline = VideoPipeline.Of(prompts, transformer, vae, settings);
        var rows = new List<byte[]>();
        // Where memory runs out, sampling goes on with smaller pieces; the training does not.
        var attention = transformer.Attention;
        try
        {
            foreach (var request in requests)
            {
                using var scope = new TensorScope();
                rows.Add(pipeline.Decode(pipeline.GenerateLatents(request, null, cancellationToken)));
            }
        }
        finally
        {
            transformer.Attention = attention;
        }

        PngWriter.Write(path, ContactSheet.Compose(rows, size.Width, size.Height));
    }

    /// <inheritdoc/>
    public void Dispose() => prompts.Dispose();
}

/// <summary>What a transformer's training makes now and then, to be looked at: the key <c>samples</c>. What is left out is the model's own.</summary>
public sealed record SampleOptions
{
    /// <summary>What is to be seen, one clip each.</summary>
    public required IReadOnlyList<string> Prompts { get; set; }

    /// <summary>Size in pixels, such as <c>640x384</c>.</summary>
    public string? Size { get; set; }

    /// <summary>Frames of a clip, 1 + a multiple of 8; 1 makes pictures.</summary>
    public int? Frames { get; set; }

    /// <summary>Steps in each stage for the first unit, lowest resolution first.</summary>
    public IReadOnlyList<int>? Steps { get; set; }

    /// <summary>The same for the later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; set; }

    /// <summary>Guidance scale of the first unit; 0 is off.</summary>
    public double? Guidance { get; set; }

    /// <summary>Guidance scale of the later units; 0 is off.</summary>
    public double? VideoGuidance { get; set; }

    /// <summary>Seed of the noise, of every sheet the same; of prompt i it is <c>seed</c> + i.</summary>
    public long Seed { get; set; }

    /// <summary>What is impossible in it whatever the model, in words; null where nothing is.</summary>
    internal static string? Fault(SampleOptions? samples, int every) =>
        samples is null ? every > 0 ? $"sample_every {every} without samples: name the prompts, such as \"samples\": {{ \"prompts\": [\"a red ball\"] }}" : null
        : every == 0 ? "samples without sample_every are never made: say after how many steps"
        : samples.Prompts.Count == 0 ? "samples has no prompts: name some, or leave samples out"
        : null;

    /// <summary>What to ask a pipeline for, one request for each prompt.</summary>
    /// <exception cref="DataException">The size is none.</exception>
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

/// <summary>Features of some texts, encoded before: stands for the text encoders where these are let go.</summary>
internal sealed class EncodedPrompts : PromptEncoder
{
    private readonly Dictionary<string, PromptFeatures> features = [];

    /// <summary>Encodes them, each by itself.</summary>
    /// <param name="encoder">The text encoders, which stay the caller's.</param>
    /// <param name="texts">All that will be asked for.</param>
    internal EncodedPrompts(PromptEncoder encoder, IEnumerable<string> texts)
    {
        (TokenWidth, PooledWidth) = (encoder.TokenWidth, encoder.PooledWidth);
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        foreach (var text in texts.Distinct())
        {
            var encoded = encoder.Encode([text]);
            features[text] = encoded with { Tokens = TensorScope.Detach(encoded.Tokens.Clone()), Pooled = TensorScope.Detach(encoded.Pooled.Clone()) };
        }
    }

    /// <inheritdoc/>
    public override long TokenWidth { get; }

    /// <inheritdoc/>
    public override long PooledWidth { get; }

    /// <inheritdoc/>
    public override IReadOnlyList<Module> Models => [];

    /// <summary>The features of one of the texts.</summary>
    /// <param name="prompts">One text.</param>
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
