using System.Runtime.ExceptionServices;
using Microsoft.Extensions.Logging;
using PyramidFlow.Scheduling;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// Text to video and image to video with the models of one checkpoint. It holds loaded models and options only. Concurrent runs
/// take turns; a run started inside the loop over another run's frames is refused.
/// </summary>
public sealed partial class VideoPipeline : IDisposable, IAsyncDisposable
{
    private readonly PipelineModels models;
    private readonly PipelineOptions options;
    private readonly PyramidFlowScheduler scheduler;
    private readonly RunTurns turns = new();
    private readonly CancellationTokenSource closing = new();
    private readonly bool isOwner;

    // The same on every thread, because another number may change the last digits.
    private readonly int threads;

    private VideoPipeline(PipelineModels models, PipelineSettings settings, PipelineOptions options, bool isOwner = true)
    {
        (this.models, Settings, this.isOwner) = (models, settings, isOwner);
        threads = options.Threads ?? TorchRuntime.Threads;
        this.options = options with { Type = models.Type, Threads = threads };
        scheduler = PyramidFlowScheduler.OfStages(settings.Steps.Count);
    }

    /// <summary>The checkpoint's defaults, for <see cref="GenerationOptions.Resolve"/>.</summary>
    public PipelineSettings Settings { get; }

    /// <summary>The checkpoint, for <see cref="GenerationPlan"/>; null for models of the caller.</summary>
    internal PlannedModel? Model => models.Planned;

    /// <summary>The models, for tests.</summary>
    internal PipelineModels Models => models;

    /// <summary>Loads a checkpoint in the released layout.</summary>
    /// <param name="folder">The checkpoint, not one of its models; or the name of an installed one, such as <c>sprites</c>, which lies in <c>models</c> beside the program or in a folder above, or in one that
    /// <c>PYRAMIDFLOW_MODELS</c> lists.</param>
    /// <param name="options">How to load it.</param>
    /// <param name="progress">Reports which part is being read.</param>
    /// <exception cref="Torch.CheckpointException">Something is missing, damaged, or of a kind that is not supported.</exception>
    public static VideoPipeline Load(string folder, PipelineOptions? options = null, IProgress<GenerationProgress>? progress = null)
    {
        options ??= new PipelineOptions();
        var checkpoint = options.Open(folder);
        var settings = checkpoint.Settings(options.Variant);
        if (options.Threads is { } threads)
            TorchRuntime.Threads = threads;
        using var telemetry = GenerationTelemetry.Load(folder, options);
        return telemetry.Of(() => new VideoPipeline(PipelineModels.Load(checkpoint, options, progress), settings, options));
    }

    /// <summary>Loads a checkpoint on a thread of its own.</summary>
    /// <param name="folder">The checkpoint, as for <see cref="Load"/>.</param>
    /// <param name="options">How to load it.</param>
    /// <param name="progress">Reports which part is being read, on the working thread.</param>
    /// <param name="cancellationToken">Stops it before the next part is read.</param>
    /// <exception cref="Torch.CheckpointException">Something is missing, damaged, or of a kind that is not supported.</exception>
    public static Task<VideoPipeline> LoadAsync(string folder, PipelineOptions? options = null, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default) =>
        Task.Factory.StartNew(() => Load(folder, options, new StoppableReports(progress, cancellationToken)), cancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    /// <summary>Creates a pipeline from models in memory, such as those of a training; they stay the caller's.</summary>
    /// <param name="text">Encodes prompts.</param>
    /// <param name="transformer">Predicts velocities.</param>
    /// <param name="vae">Decodes latents; of the transformer's element type and device.</param>
    /// <param name="settings">Defaults of requests.</param>
    public static VideoPipeline Of(PromptEncoder text, PyramidTransformer transformer, CausalVideoVae vae, PipelineSettings settings)
    {
        // Weights that the caller may change must not be kept with LoRAs added to them.
        var options = new PipelineOptions { Type = transformer.WeightType, Device = transformer.Device, LoraCacheBytes = 0 };
        return new VideoPipeline(new PipelineModels(text, transformer, vae, null), settings, options, isOwner: false);
    }

    /// <summary>Makes a video, or as many as the request asks for. Work starts when the result is enumerated.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="progress">Reports progress after every step, on the working thread.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Frames of each unit, as soon as they are decoded.</returns>
    /// <exception cref="RequestException">A value is impossible.</exception>
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
    /// <exception cref="RequestException">A value is impossible, or there is no request.</exception>
    public GenerationRun GenerateAsync(IReadOnlyList<GenerationOptions> requests, IProgress<GenerationProgress>? progress = null,
        CancellationToken cancellationToken = default) => GenerateAsync(Plan(requests), progress, cancellationToken);

    /// <summary>Makes the videos of a plan, which is executed as it is.</summary>
    /// <param name="plan">From <see cref="Plan"/>, or from <see cref="GenerationPlan.Of(GenerationOptions, string, PipelineOptions?)"/> with the checkpoint and options of this pipeline; with pixels.</param>
    /// <param name="progress">Reports progress after every step, on the working thread.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Frames of each unit, as soon as they are decoded.</returns>
    /// <exception cref="RequestException">The plan is one for another pipeline, or the pixels of its picture or video are missing.</exception>
    public GenerationRun GenerateAsync(GenerationPlan plan, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        Check(plan);
        return new GenerationRun(plan.Clips, turns, (warn, write, stop) =>
            Explained(() => Generate(plan, progress, warning => { Log(warning); warn(warning); }, IsFollower(plan) ? null : write, null, stop), stop), cancellationToken, closing.Token)
        {
            IsCommon = plan.Placement.Parallel is not null,
            Measure = () => GenerationTelemetry.Run(Model, plan),
        };
    }

    /// <summary>Plans a run of this pipeline.</summary>
    /// <param name="requests">What to make, at least one.</param>
    /// <exception cref="RequestException">A value is impossible, there is no request, or the run fits neither the budget nor the machine.</exception>
    public GenerationPlan Plan(params IReadOnlyList<GenerationOptions> requests)
    {
        ObjectDisposedException.ThrowIf(closing.IsCancellationRequested, this);
        return GenerationPlan.Of(GenerationPlan.Resolve(requests, Settings), models.Transformer.Config, Model, options);
    }

    /// <summary>Makes latents on this thread and decodes nothing, unless a history window needs it.</summary>
    /// <param name="request">What to make.</param>
    /// <param name="progress">Reports progress after every step.</param>
    /// <param name="cancellationToken">Checked before every step.</param>
    /// <returns>Normalised latents [count, c, t, h/8, w/8] on the transformer's device, including given ones.</returns>
    /// <exception cref="RequestException">A value is impossible.</exception>
    /// <exception cref="InvalidOperationException">It is called inside the loop over another run's frames, or inside its progress report.</exception>
    /// <exception cref="NonFiniteException">A model's numbers are not finite; where a file is at fault, a <see cref="Torch.CheckpointException"/> names it.</exception>
    public Tensor GenerateLatents(GenerationOptions request, IProgress<GenerationProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        var plan = Plan(request);
        Check(plan);
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken, closing.Token);
        return turns.Do(() =>
        {
            var units = plan.Clips.Select(_ => new List<Tensor>()).ToList();
            try
            {
                Explained(() => Generate(plan, progress, Log, null, (item, unit) => units[item].Add(TensorScope.Release(unit.Clone())), stop.Token), stop.Token);
                using var scope = new TensorScope();
                return scope.Keep(Tensor.Cat([.. units.Select(clip => Tensor.Cat([.. clip], 2))], 0));
            }
            finally
            {
                units.ForEach(clip => clip.ForEach(unit => unit.Dispose()));
            }
        }, plan.Placement.Parallel is null ? stop.Token : CancellationToken.None);
    }

    /// <summary>Decodes the latents of a clip, on this thread.</summary>
    /// <param name="latents">From a run's chunks or a file.</param>
    /// <returns>Interleaved RGB bytes, frame after frame.</returns>
    /// <exception cref="RequestException">They are those of another model.</exception>
    public byte[] Decode(LatentClip latents)
    {
        latents.CheckChannels(models.Transformer.Config.LatentChannels);
        latents.CheckNormalization(Settings.Latent);
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

    /// <summary>Does what <see cref="Dispose"/> does, and holds no thread while the current run ends.</summary>
    public async ValueTask DisposeAsync()
    {
        if (closing.IsCancellationRequested)
            return;
        if (turns.IsWorking)
        {
            Dispose();
            return;
        }

        await closing.CancelAsync().ConfigureAwait(false);
        await turns.WaitAsync(CancellationToken.None).ConfigureAwait(false);
        turns.Work(Free);
    }

    private void Free()
    {
        if (isOwner)
            models.Dispose();
    }

    // A run: the models are arranged for it, and its clips are made one after another. A text that several have in common is encoded once.
    private void Generate(GenerationPlan plan, IProgress<GenerationProgress>? progress, Action<string> warn, Action<VideoChunk>? write, Action<int, Tensor>? keep,
        CancellationToken cancellationToken)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        TorchRuntime.Threads = plan.Placement.Threads ?? threads;
        models.Arrange(plan.Placement.Offload);
        models.Loras.Keep(LoraBytes(plan));
        foreach (var warning in plan.Clips.SelectMany(clip => clip.Warnings).Distinct())
            Log(warning);
        var parallel = plan.Placement.Parallel;
        using var run = new CommonRun(parallel?.Group, cancellationToken);
        try
        {
            plan = parallel?.Agree(plan) ?? plan;
            using var prompts = models.Prompted(warn, new SamplingTeam(parallel), run);
            foreach (var (item, clip) in plan.Clips.Index())
                Generate(plan, clip, item, run, prompts, run.Guarded(progress), warn, write, keep, cancellationToken);
            run.Complete();
        }
        catch (Exception e) when (run.Leave(e) is { } other)
        {
            ExceptionDispatchInfo.Throw(other);
        }
        finally
        {
            TorchRuntime.RelaxMemory();
        }
    }

    // A clip, from its texts to its frames.
    private void Generate(GenerationPlan plan, GenerationSettings clip, int item, CommonRun common, EncodedPrompts prompts, IProgress<GenerationProgress>? progress,
        Action<string> warn, Action<VideoChunk>? write, Action<int, Tensor>? keep, CancellationToken cancellationToken)
    {
        using var scope = new TensorScope();
        var (run, sampling) = (plan.Placement, clip.Sampling);
        var decodes = write is not null || sampling.Window is not null;                              // a cut history begins with a decoded frame
        var sampler = new PyramidSampler(models.Transformer, scheduler, run.Sampler, models.Wider is null ? null : models.Wider.Transformer, run.Parallel);
        var meter = new ProgressMeter(sampling, clip.IsConditioned, decodes, item, plan.Clips.Count, progress) { Preview = sampler.OnlyTakes ? null : Preview(run, progress) };
        using var noise = new SeededNoise(clip.Seed);
        var shared = sampler.SharedDecoder(sampling, run);
        using var decoder = models.Decoder(Settings.Latent, run.Tiles, warn, shared);
        using var output = new ClipOutput(clip, item, decoder, run, write) { Guard = shared is null ? null : common.Do };
        var decodingStop = write is null ? common.Alone : cancellationToken;
        using var decoding = shared is not null ? new DecodingTogether(output, meter, models, shared, common, decodes, decodingStop)
            : decodes ? UnitDecoding.Begin(output, meter, models, sampling.Units, decodingStop) : null;
        var stop = run.Parallel is null ? decoding?.Stopped ?? cancellationToken : common.Alone;
        if (decoding is not null)
            common.AskOn(decoding.Stopped);

        // Resumption: units that an earlier run has finished are decoded, but not sampled again.
        using var finished = new FinishedUnits(plan, clip, models);
        meter.Resume(finished.Count);

        // Text: every prompt of the schedule, with what guidance steers away from.
        stop.ThrowIfCancellationRequested();
        meter.Begin(GenerationPhase.EncodingText);
        var texts = new DirectedTexts(plan.Director, clip, prompts, prompts.Of(clip, stop));

        // Conditioning: a picture, video or latents count as the first unit.
        var channels = models.Transformer.Config.LatentChannels;
        var conditioning = new Conditioning(models, Settings.Latent, run, warn);
        Tensor? given = null;
        if (clip.IsConditioned && finished.Count == 0)
        {
            meter.Begin(GenerationPhase.EncodingImage);
            given = conditioning.Of(clip, noise, meter.Encoded, stop);
        }
        else
            Conditioning.Skip(clip, noise, channels);
        if (clip.IsContinuation)
            noise.Skip(sampling, channels, clip.GivenLatentFrames);
        for (var unit = clip.IsConditioned ? 1 : 0; unit < finished.Count; unit++)
            noise.SkipUnit(sampling, channels, sampling.FramesOf(unit));

        // LoRAs: the sampled units have them. All processes leave the run where one cannot add them.
        var mergeStop = run.Parallel is null ? stop : cancellationToken;
        var isSampled = !sampler.OnlyTakes && finished.Count < sampling.Units;
        using var loras = clip.Sampling.Options.Loras is { Count: > 0 } asked
            ? common.AddLoras(() => isSampled ? models.UseLoras(asked, LoraBytes(plan), mergeStop) : null)
            : null;

        // Units: each is sampled after the clean latents before it, through all stages of the pyramid.
        using var fallback = sampler.Fallback(warn);
        if (finished.IsWidened && fallback.MayOverflow && !sampler.OnlyTakes)
            fallback.Widen();
        using var history = new ClipHistory(sampling.Window);
        try
        {
            for (var unit = 0; unit < sampling.Units; unit++)
            {
                // Changes: from each sampled unit on the clip may have another prompt, or end.
                if (unit >= finished.Count && (unit > 0 || given is null) && !texts.Begin(unit, stop))
                    break;
                using var latents = unit < finished.Count ? Finished(unit) : unit == 0 && given is not null ? sampler.Own(given) : Sample(unit);
                history.Add(latents);
                keep?.Invoke(item, latents);
                if (unit >= finished.Count)
                    common.Do(() => finished.Keep(latents, fallback.IsWidened || sampler.HasTakenWidened));
                if (decoding is DecodingTogether)
                    decoding.Add(unit, latents);
                else
                    common.Do(() => decoding?.Add(unit, latents));
            }

            sampler.Complete();
            if (item == plan.Clips.Count - 1)
                common.Sampled();
        }
        catch (Exception e)
        {
            sampler.Leave(e);
            if (e is OperationCanceledException && !cancellationToken.IsCancellationRequested)
                common.Do(() => decoding?.ThrowIfFailed());
            throw;
        }

        common.Do(() => decoding?.Complete());

        Tensor Finished(int unit)
        {
            stop.ThrowIfCancellationRequested();
            using var inner = new TensorScope();
            return sampler.Own(finished.Take(unit));
        }

        Tensor Sample(int unit)
        {
            if (sampler.OnlyTakes)
            {
                meter.Begin(GenerationPhase.Denoising, unit);
                return sampler.Take(sampling, unit, texts.Of(unit).Prompt.Mask.Rows, meter);
            }

            if (history.Cut is { } frame)
                history.BeginWith(conditioning.OfPicture(common.Do(() => decoding is DecodingTogether { HasSkipped: true } ? null : output.LastFrame(frame, decoding?.Stopped ?? stop)) ?? Blank()));
            using var own = new ThreadCount(plan.SamplingThreads(clip) ?? threads);
            meter.Begin(GenerationPhase.Denoising, unit);
            var text = texts.Of(unit);
            models.MakeRoom(models.Transformer);
            return sampler.Unit(sampling, unit, history.Latents, text, noise, fallback, common.Guarded<SamplerStep>(meter), stop);
        }

        // Stands for a frame that could not be decoded, in a run that all processes are about to leave.
        Tensor Blank() => Tensor.Zeros([1, 3, 1, clip.Height, clip.Width], models.Type, models.Transformer.Device);
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

    // Kept weights have what the plan leaves.
    private long LoraBytes(GenerationPlan plan) => Math.Min(options.LoraCacheBytes, plan.Placement.LoraCacheBytes);

    // Only rank zero of several processes decodes and gives frames.
    private static bool IsFollower(GenerationPlan plan) => plan.Placement.Parallel is { Group.Rank: > 0 };

    private void Check(GenerationPlan plan)
    {
        var (own, other) = (options, plan.Placement);
        if ((own.Variant, own.Transformer, own.Vae, own.Device ?? Device.Cpu, own.Type, own.Parallel?.Group)
            != (other.Variant, other.Transformer, other.Vae, other.Device ?? Device.Cpu, other.Type, other.Parallel?.Group)
            || !own.Loras.SequenceEqual(other.Loras))
            throw RequestFault.PlanOfOtherOptions();
        if (plan.Clips.Any(clip => clip.Conditioning is { Kind: not ConditioningKind.Latents } && clip.Pixels is null))
            throw RequestFault.PixelsMissing();
        if (plan.Director is not null && (plan.Clips.Count != 1 || (plan.Placement.Parallel is not null && plan.Director is not KnownChanges)))
            throw new ArgumentException("a director follows one clip of one process; several processes need changes that are known before", nameof(plan));
        if (plan.ResumeFile is null)
            return;
        if (plan.Clips.Count != 1)
            throw new ArgumentException(FormattableString.Invariant($"the plan has {plan.Clips.Count} clips and a resume file keeps the units of one: plan each clip by itself"), nameof(plan));
        if (models.Identity is null)
            throw new ArgumentException("a resume file notes which weights its units were made with: load the pipeline from a checkpoint", nameof(plan));
    }

    private void Log(string warning)
    {
        if (options.Logger is { } logger)
            LogWarning(logger, warning);
    }

    [LoggerMessage(EventId = 1, EventName = "RunWarning", Level = LogLevel.Warning, Message = "{Warning}")]
    private static partial void LogWarning(ILogger logger, string warning);
}

/// <summary>Passes reports on until a token is cancelled, and then throws into the work that reports.</summary>
internal sealed class StoppableReports(IProgress<GenerationProgress>? target, CancellationToken cancellationToken) : IProgress<GenerationProgress>
{
    /// <inheritdoc/>
    public void Report(GenerationProgress value)
    {
        cancellationToken.ThrowIfCancellationRequested();
        target?.Report(value);
    }
}
