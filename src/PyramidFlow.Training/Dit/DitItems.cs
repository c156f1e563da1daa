using PyramidFlow.Models.Text;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Dit;

/// <summary>Items of one batch, as they are read.</summary>
/// <param name="Content">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w], or latents as the VAE gives them, [b, c, 1 + n, h, w].</param>
/// <param name="ArePixels">Which of the two.</param>
/// <param name="Captions">Of each item.</param>
/// <param name="Text">Features of the captions where these are read, else null.</param>
internal sealed record DitItemBatch(Tensor Content, bool ArePixels, IReadOnlyList<string> Captions, PromptFeatures? Text);

/// <summary>The batches of a transformer's training, whatever they are read from.</summary>
internal sealed class DitItems : IDisposable
{
    private readonly IDisposable source;
    private readonly Func<long, DitItemBatch> batch;

    private DitItems(IDisposable source, BatchPlan plan, Func<long, DitItemBatch> batch) => (this.source, Plan, this.batch) = (source, plan, batch);

    /// <summary>What every batch has.</summary>
    internal BatchPlan Plan { get; }

    /// <summary>Opens what a configuration names.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="plan">What decides the batches.</param>
    /// <param name="channels">Channels of the latents.</param>
    /// <param name="faults">Told about bad items.</param>
    /// <param name="cancel">Stops looking and waiting.</param>
    internal static DitItems Open(DitDataConfig config, BatchPlanOptions plan, int channels, FaultLog faults, CancellationToken cancel)
    {
        if (config.Input == DitInput.Media)
        {
            var clips = DataSources.OpenClipsAsync(config.Data, plan, captions: true, faults, null, cancel).GetAwaiter().GetResult();
            return new DitItems(clips, clips.Plan, number =>
            {
                var read = clips.Batch(number, CancellationToken.None);
                return new DitItemBatch(read.Pixels(), true, read.Captions, null);
            });
        }

        var latents = DataSources.OpenLatentsAsync(config.Data, plan, config.Captions, channels, faults, null, cancel).GetAwaiter().GetResult();
        return new DitItems(latents, latents.Plan, number =>
        {
            var read = latents.Batch(number, CancellationToken.None);
            return new DitItemBatch(read.Latents, false, read.Captions, read.Text);
        });
    }

    /// <summary>The batch of a number, in the caller's scope.</summary>
    internal DitItemBatch Batch(long number) => batch(number);

    /// <inheritdoc/>
    public void Dispose() => source.Dispose();
}
