using PyramidFlow.Models;
using PyramidFlow.Torch;
using PyramidFlow.Training.Data;

namespace PyramidFlow.Training.Dit;

/// <summary>Items of one batch as they are read.</summary>
/// <param name="Content">Pixels in -1 to 1, [b, 3, 1 + 8n, 8h, 8w], or latents of the VAE, [b, c, 1 + n, h, w].</param>
/// <param name="ArePixels">Whether the content is pixels.</param>
/// <param name="Captions">Caption of each item.</param>
/// <param name="Text">Features of the captions if they are read, otherwise null.</param>
internal sealed record DitBatch(Tensor Content, bool ArePixels, IReadOnlyList<string> Captions, PromptFeatures? Text);

/// <summary>The data of a transformer's training, from media or latents: its batches, and the items that are held out of them.</summary>
internal sealed class DitBatches : IDisposable
{
    private readonly IDisposable source;
    private readonly Func<long, DitBatch> batch;
    private readonly Func<DataItem, DitBatch> alone;
    private readonly FaultLog faults;

    private DitBatches(IDisposable source, BatchPlan plan, DataSet heldOut, FaultLog faults, Func<long, DitBatch> batch, Func<DataItem, DitBatch> alone) =>
        (this.source, Plan, HeldOut, LeftOut, this.faults, this.batch, this.alone) = (source, plan, heldOut, faults.Faults.Count, faults, batch, alone);

    /// <summary>The plan of all batches.</summary>
    internal BatchPlan Plan { get; }

    /// <summary>The items that no batch has.</summary>
    internal DataSet HeldOut { get; }

    /// <summary>Number of items that the scan left out.</summary>
    internal int LeftOut { get; }

    /// <summary>Opens the data of a configuration.</summary>
    /// <param name="config">The configuration.</param>
    /// <param name="plan">Inputs of the batch plan.</param>
    /// <param name="channels">Channels of the latents.</param>
    /// <param name="faults">Records bad items.</param>
    /// <param name="cancellationToken">Cancels the scan and the wait for batches.</param>
    internal static DitBatches Open(DitConfig config, BatchPlanOptions plan, int channels, FaultLog faults, CancellationToken cancellationToken)
    {
        plan.Check();
        var data = (config.Input == DitInput.Media
            ? DataSources.ScanClipsAsync(config.Data, captions: true, faults, null, cancellationToken)
            : DataSources.ScanLatentsAsync(config.Data, config.Captions, channels, faults, null, cancellationToken)).GetAwaiter().GetResult();
        data.Require(faults, config.Data.SkipMissing);
        var (training, heldOut) = data.HoldOut(config.HeldOutOf(data.Items.Count));
        return config.Input == DitInput.Media ? OfClips(config, training, heldOut, plan, faults) : OfLatents(config, training, heldOut, plan, faults);
    }

    /// <summary>The batch with a number, in the caller's scope.</summary>
    internal DitBatch Batch(long number) => batch(number);

    /// <summary>A held-out item, from its first frame, in the caller's scope; null where it cannot be read, which is recorded.</summary>
    internal DitBatch? ReadHeldOut(int item)
    {
        try
        {
            return alone(HeldOut.Items[item]);
        }
        catch (BadItemException e)
        {
            faults.Add(e.Fault(HeldOut.Items[item].Annotation));
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => source.Dispose();

    private static DitBatches OfClips(DitConfig config, DataSet training, DataSet heldOut, BatchPlanOptions plan, FaultLog faults)
    {
        var clips = DataSources.OpenClips(training, config.Data, plan, faults);
        var reader = new ClipReader(config.Data.Fps, randomStart: false);
        return new DitBatches(clips, clips.Plan, heldOut, faults, number => Read(clips.Batch(number, CancellationToken.None)), item => Read(new ClipBatch(
            item.Bucket, [reader.ReadAsync(item, new KeyedRandom(0), CancellationToken.None).GetAwaiter().GetResult()], [item.Annotation.Text ?? ""], [item.Annotation])));

        static DitBatch Read(ClipBatch read) => new(read.Pixels(), true, read.Captions, null);
    }

    private static DitBatches OfLatents(DitConfig config, DataSet training, DataSet heldOut, BatchPlanOptions plan, FaultLog faults)
    {
        var latents = DataSources.OpenLatents(training, config.Data, plan, config.Captions, faults);
        var reader = new LatentReader(config.Captions, config.Data.Encoders.Text);
        return new DitBatches(latents, latents.Plan, heldOut, faults, number => Read(latents.Batch(number, CancellationToken.None)), item => Read(LatentReader.Batch(
            item.Bucket, [reader.ReadAsync(item, new KeyedRandom(0), CancellationToken.None).GetAwaiter().GetResult()], [item.Annotation.Text ?? ""], [item.Annotation])));

        static DitBatch Read(LatentBatch read) => new(read.Latents, false, read.Captions, read.Text);
    }
}
