using Microsoft.Extensions.Logging;
using PyramidFlow.Scheduling;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Text to video and image to video with the models of one checkpoint. It holds loaded models and options only. Concurrent runs
/// take turns; a run started inside the loop over another run's frames is refused.
/// </summary>
public sealed partial class VideoPipeline : IDisposable
{
    private const long UnsharedFeatures = 1 << 15;

    private readonly PipelineModels models;
    private readonly PipelineOptions options;
    private readonly RunPlacement placement;
    private readonly PyramidFlowScheduler scheduler;
    private readonly RunTurns turns = new();
    private readonly CancellationTokenSource closing = new();
    private readonly bool isOwner;

    // The same on every thread, because another number may change the last digits.
    private readonly int threads;

    private VideoPipeline(PipelineModels models, PipelineSettings settings, PipelineOptions options, RunPlacement placement, bool isOwner = true)
    {
        (this.models, Settings, this.options, this.placement, this.isOwner) = (models, settings, options, placement, isOwner);
        threads = options.Threads ?? TorchRuntime.Threads;
        var stages = settings.Steps.Count;
        scheduler = new PyramidFlowScheduler(new FlowOptions
        {
            Stages = stages,
            StageRange = [.. Enumerable.Range(0, stages + 1).Select(i => (double)i / stages)],
        });
    }

    /// <summary>The checkpoint's defaults, for <see cref="GenerationOptions.Resolve"/>.</summary>
    public PipelineSettings Settings { get; }

    /// <summary>Loads a checkpoint in the released layout.</summary>
    /// <param name="folder">The checkpoint, not one of its models.</param>
    /// <param name="options">How to load it.</param>
    /// <param name="progress">Reports which part is being read.</param>
    /// <exception cref="Torch.CheckpointException">Something is missing, damaged, or of a kind that is not supported.</exception>
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
            return new VideoPipeline(models, settings, options, new RunPlacement(PlannedModel.Of(checkpoint, options.Variant), options));
        }
        catch
        {
            models.Dispose();
            throw;
        }
    }

    /// <summary>Creates a pipeline from models in memory, such as those of a training; they stay the caller's.</summary>
    /// <param name="text">Encodes prompts.</param>
    /// <param name="transformer">Predicts velocities.</param>
    /// <param name="vae">Decodes latents; of the transformer's element type and device.</param>
    /// <param name="settings">Defaults of requests.</param>
    public static VideoPipeline Of(PromptEncoder text, PyramidTransformer transformer, CausalVideoVae vae, PipelineSettings settings)
    {
        var options = new PipelineOptions { Type = transformer.WeightType, Device = transformer.Device };
        return new VideoPipeline(new PipelineModels(text, transformer, vae, null), settings, options, new RunPlacement(null, options), isOwner: false);
    }

    /// <summary>Makes a video, or as many as the request asks for. Work starts when the result is enumerated.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="progress">Reports progress after every step, on the working thread.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Frames of each unit, as soon as they are decoded.</returns>
    /// <exception cref="ArgumentException">A value is impossible.</exception>
    public GenerationRun GenerateAsync(GenerationOptions request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default) =>
        GenerateAsync([request], progress, cancellationToken);

    /// <summary>
    /// Makes videos one after another; each is the same as when it is made alone. Shared texts are encoded once. Several
    /// prompts with one negative prompt are <c>prompts.Select(prompt => request with { Prompt = prompt })</c>.
    /// </summary>
    /// <param name="requests">What to make, at least one; all are checked before the first one starts.</param>
    /// <param name="progress">Reports progress after every step, on the working thread.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Frames of each unit, as soon as they are decoded; <see cref="VideoChunk.Item"/> is the number of the video.</returns>
    /// <exception cref="ArgumentException">A value is impossible, or there is no request.</exception>
    public GenerationRun GenerateAsync(IReadOnlyList<GenerationOptions> requests, IProgress<GenerationProgress>? progress = null,
        CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        if (requests.Count == 0)
            throw new ArgumentException("there is nothing to make: give at least one request");
        return new GenerationRun([.. requests.SelectMany(Items)], turns, (items, warn, write, stop) =>
            Explained(() => Generate(items, progress, warning => { Log(warning); warn(warning); }, write, null, stop), stop), cancellationToken, closing.Token);
    }

    /// <summary>Makes latents on this thread and decodes nothing, unless a history window needs it.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="progress">Reports progress after every step.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Normalised latents [count, c, t, h/8, w/8] on the transformer's device, including given ones.</returns>
    /// <exception cref="ArgumentException">A value is impossible.</exception>
    /// <exception cref="InvalidOperationException">It is called inside the loop over another run's frames, or inside its progress report.</exception>
    /// <exception cref="NonFiniteException">A model's numbers are not finite; where a file is at fault, a <see cref="Torch.CheckpointException"/> names it.</exception>
    public Tensor GenerateLatents(GenerationOptions request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        var items = Items(request).ToList();
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, closing.Token);
        return turns.Do(() =>
        {
            var units = items.ConvertAll(_ => new List<Tensor>());
            try
            {
                Explained(() => Generate(items, progress, Log, null, (item, unit) => units[item].Add(TensorScope.Release(unit.Clone())), stop.Token), stop.Token);
                using var scope = new TensorScope();
                return scope.Keep(Tensor.Cat([.. units.Select(clip => Tensor.Cat([.. clip], 2))], 0));
            }
            finally
            {
                units.ForEach(clip => clip.ForEach(unit => unit.Dispose()));
            }
        }, stop.Token);
    }

    /// <summary>Decodes the latents of a clip, on this thread.</summary>
    /// <param name="latents">From a run's chunks or a file.</param>
    /// <returns>Interleaved RGB bytes, frame after frame.</returns>
    /// <exception cref="ArgumentException">They are those of another model.</exception>
    public byte[] Decode(LatentClip latents)
    {
        Check(latents);
        using var scope = new TensorScope();
        return Decode(latents.ToTensor());
    }

    /// <summary>Decodes latents, on this thread.</summary>
    /// <param name="latents">From <see cref="GenerateLatents"/>, [count, c, t, h/8, w/8].</param>
    /// <returns>Interleaved RGB bytes, frame after frame, clip after clip.</returns>
    public byte[] Decode(Tensor latents)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        return turns.Do(() =>
        {
            byte[] frames = [];
            Explained(() => frames = DecodeAll(latents), closing.Token);
            return frames;
        }, closing.Token);
    }

    /// <summary>
    /// Stops the current run, waits for its end and frees the models, unless they are the caller's. Inside the loop over a run's frames it ends
    /// that run, whose next frame then throws <see cref="OperationCanceledException"/>; inside a progress report the models are freed when the run is over.
    /// </summary>
    public void Dispose()
    {
        if (closing.IsCancellationRequested)
            return;
        closing.Cancel();
        var free = turns.WaitAsync(CancellationToken.None);
        if (turns.IsWorking)
            free.ContinueWith(_ => turns.Work(Free), CancellationToken.None, TaskContinuationOptions.None, TaskScheduler.Default);
        else
        {
            free.GetAwaiter().GetResult();
            turns.Work(Free);
        }
    }

    private void Free()
    {
        if (isOwner)
            models.Dispose();
    }

    // A run: the models are arranged for it, and its clips are made one after another. A text that several have in common is encoded once.
    private void Generate(IReadOnlyList<GenerationSettings> clips, IProgress<GenerationProgress>? progress, Action<string> warn, Action<VideoChunk>? write,
        Action<int, Tensor>? keep, CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        var run = placement.Of(clips);
        TorchRuntime.Threads = threads;
        models.Arrange(run.Offload);
        foreach (var warning in clips.SelectMany(clip => clip.Warnings).Distinct())
            Log(warning);
        using var prompts = models.Prompted(warn);
        try
        {
            foreach (var (item, clip) in clips.Index())
                Generate(clip, item, clips.Count, run, prompts, progress, warn, write, keep, cancellationToken);
        }
        finally
        {
            TorchRuntime.RelaxMemory();
        }
    }

    // A clip, from its texts to its frames.
    private void Generate(GenerationSettings clip, int item, int items, PipelineOptions run, EncodedPrompts prompts, IProgress<GenerationProgress>? progress,
        Action<string> warn, Action<VideoChunk>? write, Action<int, Tensor>? keep, CancellationToken cancellationToken)
    {
        using var scope = new TensorScope();
        var plan = clip.Sampling;
        var decodes = write is not null || plan.Window is not null;                                  // a cut history begins with a decoded frame
        var meter = new ProgressMeter(plan, clip.IsGiven, decodes, item, items, progress) { Preview = Preview(run, progress) };
        using var noise = new SeededNoise(clip.Seed);
        using var decoder = models.Decoder(Settings.Latent, run.Tiles, warn);
        using var output = new ClipOutput(clip, item, decoder, run, write);
        using var decoding = decodes ? UnitDecoding.Begin(output, meter, models, plan.Units, cancellationToken) : null;
        var stop = decoding?.Stopped ?? cancellationToken;

        // Text: every prompt of the schedule, with what guidance steers away from.
        stop.ThrowIfCancellationRequested();
        meter.Begin(GenerationPhase.EncodingText);
        var texts = prompts.Of(clip, stop);

        // Conditioning: a picture, video or latents count as the first unit.
        if (clip.IsGiven)
            meter.Begin(GenerationPhase.EncodingImage);
        var conditioning = new Conditioning(models, Settings.Latent, run, warn);
        var given = conditioning.Of(clip, noise, stop);
        if (clip.GoesOn)
            noise.Skip(plan, models.Transformer.Config.LatentChannels, clip.GivenLatentFrames);

        // Units: each is sampled after the clean latents before it, through all stages of the pyramid.
        var sampler = new PyramidSampler(models.Transformer, scheduler, run.Sampler, models.Wider is null ? null : models.Wider.Transformer);
        using var fallback = sampler.Fallback(warn);
        using var history = new ClipHistory(plan.Window);
        try
        {
            for (var unit = 0; unit < plan.Units; unit++)
            {
                using var latents = unit == 0 && given is not null ? sampler.Own(given) : Sample(unit);
                history.Add(latents);
                keep?.Invoke(item, latents);
                decoding?.Add(unit, latents);
            }
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            decoding?.ThrowIfFailed();
            throw;
        }

        decoding?.Complete();

        Tensor Sample(int unit)
        {
            if (history.Cut is { } frame)
                history.BeginWith(conditioning.OfPicture(output.LastFrame(frame, stop)));
            using var own = new ThreadCount(SamplingThreads(plan));
            meter.Begin(GenerationPhase.Denoising, unit);
            models.MakeRoom(models.Transformer);
            return sampler.Unit(plan, unit, history.Latents, texts[unit], noise, fallback, meter, stop);
        }
    }

    // Below 32k features per unit, thread synchronisation costs more than it saves: sample on one thread.
    private int SamplingThreads(SamplingPlan plan)
    {
        const int rows = 2;                                                                          // of a guided step
        return rows * plan.SizeOf(plan.Units - 1, plan.Stages - 1).Tokens * models.Transformer.Config.Dim <= UnsharedFeatures ? 1 : threads;
    }

    // Models that make room for one another must not both be needed at each step.
    private LatentPreview? Preview(PipelineOptions run, IProgress<GenerationProgress>? progress) =>
        run.PreviewEvery is { } pause && progress is not null && models.Offload == Offload.None ? new LatentPreview(models, Settings.Latent, pause, threads) : null;

    private byte[] DecodeAll(Tensor latents)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        using var frames = new MemoryStream();
        TorchRuntime.Threads = threads;
        models.MakeRoom(models.Vae);
        foreach (var clip in latents.Chunk(latents.Size(0), 0))
        {
            using var decoder = models.Decoder(Settings.Latent, options.Tiles, Log);
            foreach (var piece in decoder.DecodeClip(clip.To(models.Type).To(models.Device), options.DecodeWindow, options.TileByTile))
            {
                using var inner = new TensorScope();
                frames.Write(FrameBytes.Of(piece.Select(0, 0)));
                piece.Dispose();
            }
        }

        return frames.ToArray();
    }

    // Searches the weights for the cause of a number that is not finite. The search reads every file of a model again, so it can be cancelled; an
    // exception filter would swallow the cancellation.
    private void Explained(Action work, CancellationToken cancellationToken)
    {
        try
        {
            work();
        }
        catch (NonFiniteException e)
        {
            if (models.Explanation(e, cancellationToken) is { } explanation)
                throw explanation;
            throw;
        }
    }

    // Settings may allow a size that the transformer has no position embeddings for.
    private GenerationSettings Resolve(GenerationOptions request)
    {
        var settings = request.Resolve(Settings);
        CheckSize(settings);
        placement.Of(settings);
        return settings;
    }

    private void CheckSize(GenerationSettings settings)
    {
        if (models.Transformer.Config.MaxPatches is not { } patches)
            return;
        var most = patches * Patches.Size * VideoLength.Scale;
        foreach (var (what, value) in new[] { ("width", settings.Width), ("height", settings.Height) })
        {
            if (value > most)
                throw new ArgumentException(FormattableString.Invariant($"{what} {value} is more than this checkpoint has positions for: use at most {most}"));
        }
    }

    private IEnumerable<GenerationSettings> Items(GenerationOptions request)
    {
        var settings = Resolve(request);
        if (request.Latents is { } latents)
            Check(latents);
        return Enumerable.Range(0, request.Count).Select(i => settings with { Seed = settings.Seed + (ulong)i });
    }

    private void Check(LatentClip latents)
    {
        var channels = models.Transformer.Config.LatentChannels;
        if (latents.Channels != channels)
            throw new ArgumentException($"the latents have {latents.Channels} channels where this model's have {channels}: use the model they were made with");
        latents.CheckNormalization(Settings.Latent);
    }

    private void Log(string warning)
    {
        if (options.Logger is { } logger)
            LogWarning(logger, warning);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Warning}")]
    private static partial void LogWarning(ILogger logger, string warning);
}
