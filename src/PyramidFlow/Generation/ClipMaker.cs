using PyramidFlow.Hub;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Makes the clips of one run, one after another; what they share (encoded prompts) is made once.</summary>
/// <param name="models">The models.</param>
/// <param name="normalization">How the transformer sees latents.</param>
/// <param name="options">Options of the pipeline.</param>
/// <param name="sampler">Samples latents.</param>
/// <param name="warn">Takes sentences for the user.</param>
/// <param name="progress">Told after every step.</param>
internal sealed class ClipMaker(PipelineModels models, LatentNormalization normalization, PipelineOptions options, PyramidSampler sampler,
    Action<string> warn, IProgress<GenerationProgress>? progress) : IDisposable
{
    // Where the tokens of a unit have no more features together, threads wait for one another, and for whatever else the machine does,
    // longer than they work.
    private const long UnsharedFeatures = 1 << 15;

    private readonly int threads = TorchRuntime.Threads;
    private readonly PromptBook prompts = models.Book(warn);
    private readonly GivenLatents given = new(models, normalization, options, warn);

    /// <summary>Makes a clip.</summary>
    /// <param name="settings">What to make.</param>
    /// <param name="item">Its number in the run.</param>
    /// <param name="items">Clips of the run.</param>
    /// <param name="write">Takes decoded frames; null decodes nothing that is not needed to sample.</param>
    /// <param name="keep">Takes the latents of each unit, which stay this object's.</param>
    /// <param name="cancel">Checked before every step.</param>
    internal void Make(GenerationSettings settings, int item, int items, Action<VideoChunk>? write, Action<Tensor>? keep, CancellationToken cancel)
    {
        using var scope = new TensorScope();
        var plan = settings.Sampling;
        var decodes = write is not null || plan.Window is not null;
        var meter = new ProgressMeter(plan, settings.IsGiven, decodes, item, items, progress);
        using var noise = new SeededNoise(settings.Seed);
        using var decoder = models.Decoder(normalization, options.Tiles, warn);
        using var output = new ClipOutput(settings, item, decoder, options, write);
        using var decoding = decodes ? Decoding(output, meter, plan, cancel) : null;
        var stop = decoding?.Stopped ?? cancel;
        var sampling = SamplingThreads(plan);
        var source = Source(settings, noise, output, meter, sampling, stop);
        try
        {
            BeginUnit(settings.IsGiven ? 1 : 0);
            foreach (var (unit, latents) in sampler.Clip(plan, source, meter, stop).Index())
            {
                using (latents)
                {
                    TorchRuntime.UseThreads(threads);
                    keep?.Invoke(latents);
                    decoding?.Add(unit, latents);
                }

                if (unit + 1 < plan.Units)
                    BeginUnit(unit + 1);
            }
        }
        catch (OperationCanceledException) when (!cancel.IsCancellationRequested)
        {
            decoding?.ThrowIfFailed();
            throw;
        }
        finally
        {
            TorchRuntime.UseThreads(threads);
        }

        decoding?.Complete();

        void BeginUnit(int unit)
        {
            TorchRuntime.UseThreads(sampling);
            meter.Begin(GenerationPhase.Denoising, unit);
            models.MakeRoom(models.Transformer);
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        prompts.Dispose();
        TorchRuntime.RelaxMemory();
    }

    private ClipSource Source(GenerationSettings settings, SeededNoise noise, ClipOutput output, ProgressMeter meter, int sampling, CancellationToken cancel)
    {
        cancel.ThrowIfCancellationRequested();
        meter.Begin(GenerationPhase.EncodingText);
        var negative = settings.IsGuided ? settings.NegativePrompt : null;
        foreach (var (_, prompt) in settings.Prompts)
        {
            cancel.ThrowIfCancellationRequested();
            prompts.Text(prompt, negative);
        }

        cancel.ThrowIfCancellationRequested();
        if (settings.IsGiven)
            meter.Begin(GenerationPhase.EncodingImage);
        var latents = given.Of(settings, noise, cancel);
        if (settings.GoesOn)
            noise.Skip(settings.Sampling, models.Transformer.Config.LatentChannels, GivenFrames(settings));
        // Models that make room for one another must not both be needed at each step.
        var preview = options.PreviewEvery is { } pause && progress is not null && models.Offload == Offload.None ? new LatentPreview(models, normalization, pause) : null;
        return new ClipSource(unit => prompts.Text(settings.PromptOf(unit), negative), noise)
        {
            Guess = preview is null ? null : (step, clean) => meter.Preview = OnAllThreads(sampling, () => preview.Of(step, clean)),
            Given = latents,
            Restart = latent => OnAllThreads(sampling, () => Restart(output.LastFrame(latent, cancel))),
            Warn = warn,
        };
    }

    private UnitDecoding Decoding(ClipOutput output, ProgressMeter meter, SamplingPlan plan, CancellationToken cancel) =>
        output.Waits ? new DecodingByTile(output, meter, models, plan.Units, cancel)
        : output.MayOverlap ? new OverlappedDecoding(output, meter, cancel)
        : new DecodingInTurn(output, meter, models, cancel);

    private int SamplingThreads(SamplingPlan plan)
    {
        const int rows = 2;                                                                          // of a guided step
        return rows * plan.SizeOf(plan.Units - 1, plan.Stages - 1).Tokens * models.Transformer.Config.Dim <= UnsharedFeatures ? 1 : threads;
    }

    // Work of the VAE in the midst of sampling.
    private T OnAllThreads<T>(int sampling, Func<T> work)
    {
        TorchRuntime.UseThreads(threads);
        try
        {
            return work();
        }
        finally
        {
            TorchRuntime.UseThreads(sampling);
        }
    }

    private Tensor Restart(Tensor picture)
    {
        var latents = given.OfPicture(picture);
        models.MakeRoom(models.Transformer);
        return latents;
    }

    // Latent frames that come before, those outside the history window among them.
    private static int GivenFrames(GenerationSettings settings) => settings.Latents is { } latents
        ? latents.Frames
        : VideoLength.Latents(VideoLength.Fitting(settings.Video!.Value.Length / (3 * settings.Width * settings.Height)));
}
