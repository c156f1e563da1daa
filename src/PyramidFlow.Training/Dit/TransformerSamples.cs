using PyramidFlow.Media;
using PyramidFlow.Generation;
using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Training.Sprites;
using PyramidFlow.Models;
using PyramidFlow.Models.Vae;

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
    /// <param name="cancel">Checked before every step.</param>
    /// <exception cref="MediaException">The file cannot be written.</exception>
    public void Write(string path, PyramidTransformer transformer, CancellationToken cancel)
    {
        using var vae = openVae();
        using var pipeline = VideoPipeline.Of(prompts, transformer, vae, settings);
        var rows = new List<byte[]>();
        foreach (var request in requests)
        {
            using var scope = new TensorScope();
            rows.Add(pipeline.Decode(pipeline.GenerateLatents(request, null, cancel)));
        }

        var sheet = SpriteContactSheet.Compose(rows, size.Width, size.Height);
        PngWriter.Write(path, new RgbImage(sheet.Width, sheet.Height, sheet.Pixels));
    }

    /// <inheritdoc/>
    public void Dispose() => prompts.Dispose();
}
