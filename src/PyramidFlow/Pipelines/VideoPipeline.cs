using Microsoft.Extensions.Logging;
using PyramidFlow.Hub;
using PyramidFlow.Schedulers;
using PyramidFlow.Torch;
using PyramidFlow.Transformers;

namespace PyramidFlow.Pipelines;

/// <summary>
/// Text to video and image to video with the models of one checkpoint. It holds loaded models and options only; runs at the
/// same time take turns.
/// </summary>
public sealed partial class VideoPipeline : IDisposable
{
    private readonly PipelineModels models;
    private readonly PipelineOptions options;
    private readonly PyramidSampler sampler;
    private readonly SemaphoreSlim gate = new(1);
    private readonly CancellationTokenSource closing = new();

    private VideoPipeline(PipelineModels models, PipelineSettings settings, PipelineOptions options)
    {
        (this.models, Settings, this.options) = (models, settings, options);
        var stages = settings.Steps.Count;
        var scheduler = new PyramidFlowScheduler(new FlowOptions
        {
            Stages = stages,
            StageRange = [.. Enumerable.Range(0, stages + 1).Select(i => (double)i / stages)],
        });
        sampler = new PyramidSampler(models.Transformer, scheduler, options.Sampler);
    }

    /// <summary>The checkpoint's defaults, for <see cref="GenerationRequest.Resolve"/>.</summary>
    public PipelineSettings Settings { get; }

    /// <summary>Loads a checkpoint in the released layout.</summary>
    /// <param name="folder">The checkpoint, not one of its models.</param>
    /// <param name="options">How to load it.</param>
    /// <param name="progress">Told which part is being read.</param>
    /// <exception cref="Torch.Checkpoints.CheckpointException">Something is missing, damaged, or of a kind that is not supported.</exception>
    public static VideoPipeline Load(string folder, PipelineOptions? options = null, IProgress<GenerationProgress>? progress = null)
    {
        options ??= new PipelineOptions();
        var checkpoint = CheckpointFolder.Open(folder);
        var settings = checkpoint.Settings(options.Variant);
        if (options.Threads is { } threads)
            TorchRuntime.Threads = threads;
        var models = PipelineModels.Load(checkpoint, options, progress);
        try
        {
            return new VideoPipeline(models, settings, options);
        }
        catch
        {
            models.Dispose();
            throw;
        }
    }

    /// <summary>Makes a video; nothing is done before it is enumerated.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="progress">Told after every step, on the working thread.</param>
    /// <param name="cancel">Looked at before every step.</param>
    /// <returns>Frames of each unit, as soon as they are there.</returns>
    /// <exception cref="ArgumentException">A value is impossible.</exception>
    public GenerationRun GenerateAsync(GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancel = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        return new GenerationRun(Resolve(request), gate, (settings, warn, write, stop) => Generate(settings, progress, warn, write, stop), cancel, closing.Token);
    }

    /// <summary>Makes latents on this thread and decodes nothing.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="progress">Told after every step.</param>
    /// <param name="cancel">Looked at before every step.</param>
    /// <returns>Normalised latents [1, c, t, h/8, w/8], as the transformer sees them, on its device.</returns>
    /// <exception cref="ArgumentException">A value is impossible.</exception>
    public Tensor GenerateLatents(GenerationRequest request, IProgress<GenerationProgress>? progress = null, CancellationToken cancel = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        var settings = Resolve(request);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancel, closing.Token);
        gate.Wait(stop.Token);
        try
        {
            using var noGrad = NoGrad.Begin();
            using var scope = new TensorScope();
            var meter = new ProgressMeter(settings.Sampling, settings.Image is not null, decodes: false, progress);
            var units = new List<Tensor>();
            Sample(settings, meter, Log, (_, unit) => units.Add(unit.Clone()), stop.Token);
            return scope.Keep(Tensor.Cat([.. units], 2));
        }
        finally
        {
            gate.Release();
        }
    }

    /// <summary>Decodes latents all at once, on this thread.</summary>
    /// <param name="latents">From <see cref="GenerateLatents"/>, [1, c, t, h/8, w/8].</param>
    /// <returns>Interleaved RGB bytes, frame after frame.</returns>
    public byte[] Decode(Tensor latents)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        gate.Wait(closing.Token);
        try
        {
            using var scope = new TensorScope();
            using var decoder = new UnitDecoder(models.Vae, Settings.Latent, options.Tiles);
            return FrameBytes.Of(decoder.Decode(latents).Select(0, 0));
        }
        finally
        {
            gate.Release();
        }
    }

    /// <summary>Stops what is under way, waits for it and frees the models.</summary>
    public void Dispose()
    {
        if (closing.IsCancellationRequested)
            return;
        closing.Cancel();
        gate.Wait();
        models.Dispose();
        gate.Release();
    }

    // What a checkpoint's settings allow its transformer may still have no positions for.
    private GenerationSettings Resolve(GenerationRequest request)
    {
        var settings = request.Resolve(Settings);
        if (models.Transformer.Config.MaxPatches is not { } patches)
            return settings;
        var most = patches * Patches.Size * RequestResolver.Scale;
        foreach (var (what, value) in new[] { ("width", settings.Width), ("height", settings.Height) })
        {
            if (value > most)
                throw new ArgumentException(FormattableString.Invariant($"{what} {value} is more than this checkpoint has positions for: use at most {most}"));
        }

        return settings;
    }

    private void Generate(GenerationSettings settings, IProgress<GenerationProgress>? progress, Action<string> warn, Action<VideoChunk> write, CancellationToken cancel)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var decoder = new UnitDecoder(models.Vae, Settings.Latent, options.Tiles);
        var meter = new ProgressMeter(settings.Sampling, settings.Image is not null, decodes: true, progress);
        var frame = 0;
        Sample(settings, meter, warning => { Log(warning); warn(warning); }, Decode, cancel);

        void Decode(int unit, Tensor latents)
        {
            using var inner = new TensorScope();
            meter.Begin(GenerationPhase.Decoding, unit);
            var frames = decoder.Decode(latents).Select(0, 0);                                       // [3, t, h, w]
            var count = (int)frames.Size(1);
            var chunk = new VideoChunk(frame, count, settings.Width, settings.Height, FrameBytes.Of(frames));
            frame += count;
            meter.Decoded(unit);
            write(chunk);
        }
    }

    private void Sample(GenerationSettings settings, ProgressMeter meter, Action<string> warn, Action<int, Tensor> done, CancellationToken cancel)
    {
        using var noise = new SeededNoise(settings.Seed);
        cancel.ThrowIfCancellationRequested();
        meter.Begin(GenerationPhase.EncodingText);
        var text = Encode(settings, warn);
        cancel.ThrowIfCancellationRequested();
        Tensor? image = null;
        if (settings.Image is { } bytes)
        {
            meter.Begin(GenerationPhase.EncodingImage);
            image = Encode(bytes.Span, settings, noise);
        }

        meter.Begin(GenerationPhase.Denoising, image is null ? 0 : 1);
        var unit = 0;
        foreach (var latents in sampler.Clip(settings.Sampling, text, noise, image, meter, cancel))
        {
            using (latents)
                done(unit++, latents);
            if (unit < settings.Sampling.Units)
                meter.Begin(GenerationPhase.Denoising, unit);
        }
    }

    private GuidedText Encode(GenerationSettings settings, Action<string> warn)
    {
        var prompt = models.Text.Encode([settings.Prompt]);
        var negative = settings.IsGuided ? models.Text.Encode([settings.NegativePrompt]) : null;
        foreach (var warning in prompt.Warnings.Concat(negative?.Warnings ?? []))
            warn(warning);
        return GuidedText.Of(prompt, negative);
    }

    private Tensor Encode(ReadOnlySpan<byte> image, GenerationSettings settings, SeededNoise noise)
    {
        using var scope = new TensorScope();
        var pixels = FrameBytes.ToPixels(image, settings.Width, settings.Height);
        var posterior = models.Vae.Encode(pixels.To(models.Type).To(models.Device), tiles: options.Tiles);
        var latents = settings.SampleImage
            ? posterior.Sample(noise.Posterior(posterior.Mean.Shape).To(models.Type).To(models.Device))
            : posterior.Mode;
        return scope.Keep(Settings.Latent.Normalize(latents, isStart: true));
    }

    private void Log(string warning)
    {
        if (options.Logger is { } logger)
            LogWarning(logger, warning);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Warning}")]
    private static partial void LogWarning(ILogger logger, string warning);
}
