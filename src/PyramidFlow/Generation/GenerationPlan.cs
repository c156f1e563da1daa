using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>
/// A run, decided before a weight is read: sizes, units, steps and prompts of its clips, the element type, when weights are in memory, tiles and threads. The
/// command <c>plan</c> prints it, and <see cref="VideoPipeline.GenerateAsync(GenerationPlan, IProgress{GenerationProgress}?, CancellationToken)"/> executes it as it is.
/// </summary>
public sealed record GenerationPlan
{
    private const long UnsharedFeatures = 1 << 15;
    private readonly ITransformerConfig transformer;

    private GenerationPlan(IReadOnlyList<GenerationSettings> clips, ITransformerConfig transformer, PipelineOptions placement) =>
        (Clips, this.transformer, Placement) = (clips, transformer, placement);

    /// <summary>The clips of the run, one after another; at least one.</summary>
    public IReadOnlyList<GenerationSettings> Clips { get; internal init; }

    /// <summary>The first of <see cref="Clips"/>.</summary>
    public GenerationSettings Clip => Clips[0];

    /// <summary>
    /// How the run works: the options that were asked for, and what they leave open. <see cref="PipelineOptions.Type"/> is not null, <see cref="PipelineOptions.Offload"/> is not
    /// <see cref="Offload.Auto"/>; tiles, windows and blocks are those that a memory budget needs, and <see cref="PipelineOptions.LoraCacheBytes"/> is what it leaves. All clips share it.
    /// </summary>
    public PipelineOptions Placement { get; internal init; }

    /// <summary>File from which an interrupted run of the same plan goes on, and that keeps the finished units of this one; null keeps none. For a plan of one clip.</summary>
    public ResumeFile? ResumeFile { get; init; }

    /// <summary>Says how the clip is changed while it is made; null keeps to the plan. For a plan of one clip; several processes that make it together have <see cref="KnownChanges"/>, all the same.</summary>
    internal IClipDirector? Director { get; init; }

    /// <summary>Plans a run of one request, with <see cref="GenerationOptions.Count"/> clips, from the configurations of a checkpoint.</summary>
    /// <param name="request">What to make; pixels of its picture or video may be added later (<see cref="WithPixels"/>).</param>
    /// <param name="checkpoint">Folder of the checkpoint; none of its weights are read.</param>
    /// <param name="options">How the pipeline will be loaded; null is the default.</param>
    /// <exception cref="RequestException">A value is impossible, or the run fits neither the budget nor the machine; says what would be possible.</exception>
    /// <exception cref="CheckpointException">A config is missing or wrong.</exception>
    public static GenerationPlan Of(GenerationOptions request, string checkpoint, PipelineOptions? options = null)
    {
        options ??= new PipelineOptions();
        return Of(request, PlannedModel.Of(options.Open(checkpoint), options.Variant), options);
    }

    /// <summary>Plans a run of one request, with <see cref="GenerationOptions.Count"/> clips.</summary>
    /// <param name="request">What to make; pixels of its picture or video may be added later (<see cref="WithPixels"/>).</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="options">How the pipeline is loaded, or will be.</param>
    /// <exception cref="RequestException">A value is impossible, or the run fits neither the budget nor the machine; says what would be possible.</exception>
    internal static GenerationPlan Of(GenerationOptions request, PlannedModel model, PipelineOptions options) =>
        Of(Resolve([request], model.Settings), model, options);

    /// <summary>Plans a run of clips whose settings are filled in.</summary>
    /// <param name="clips">What to make, at least one (<see cref="GenerationOptions.Resolve"/>).</param>
    /// <param name="model">The checkpoint.</param>
    /// <param name="options">How the pipeline is loaded, or will be.</param>
    /// <exception cref="RequestException">The model cannot make a clip, or the run fits neither the budget nor the machine; says what would be possible.</exception>
    internal static GenerationPlan Of(IReadOnlyList<GenerationSettings> clips, PlannedModel model, PipelineOptions options) =>
        Of(clips, model.Transformer, model, options);

    /// <summary>Plans a run.</summary>
    /// <param name="clips">What to make.</param>
    /// <param name="transformer">Sizes of the transformer.</param>
    /// <param name="model">The checkpoint; null for models of the caller, which are in memory already.</param>
    /// <param name="options">How the pipeline is loaded.</param>
    internal static GenerationPlan Of(IReadOnlyList<GenerationSettings> clips, ITransformerConfig transformer, PlannedModel? model, PipelineOptions options)
    {
        if (clips.Count == 0)
            throw RequestFault.NothingToMake();
        foreach (var clip in clips)
            Check(clip, transformer);
        if (options.Parallel?.Resolve(clips, transformer, model, options) is { } parallel)
            options = options with { Parallel = parallel, Sampler = options.Sampler with { Ways = parallel.Ways } };
        // The models are arranged once for the whole run, so its largest clip decides.
        var largest = clips.MaxBy(clip => (double)clip.Width * clip.Height * clip.Sampling.Frames)!;
        return new GenerationPlan(clips, transformer, model is null ? options with { Offload = Offload.None } : Place(largest, model, options));
    }

    /// <summary>The clips of requests, each with its own seed.</summary>
    /// <exception cref="RequestException">A value is impossible; says what would be possible.</exception>
    internal static IReadOnlyList<GenerationSettings> Resolve(IEnumerable<GenerationOptions> requests, PipelineSettings settings) => [.. requests.SelectMany(request =>
    {
        var clip = request.Resolve(settings);
        return Enumerable.Range(0, request.Count).Select(i => clip with { Seed = clip.Seed + (ulong)i });
    })];

    /// <summary>Threads of an operator while a clip is sampled: 1 for small units; null is the number of the pipeline.</summary>
    /// <param name="clip">One of <see cref="Clips"/>.</param>
    public int? SamplingThreads(GenerationSettings clip)
    {
        // Below 32k features per unit, thread synchronisation costs more than it saves.
        const int rows = 2;                                                                          // of a guided step
        var sampling = clip.Sampling;
        return rows * sampling.SizeOf(sampling.Units - 1, sampling.Stages - 1).Tokens * transformer.Dim <= UnsharedFeatures ? 1 : Placement.Threads;
    }

    /// <summary>The plan with the pixels of the picture or video that its clips begin with (<see cref="GenerationOptions.Conditioning"/>).</summary>
    /// <param name="rgb">Interleaved RGB bytes, frame after frame; of the size and number of frames that were planned.</param>
    /// <exception cref="RequestException">The clips begin with none, or it is of another size or length.</exception>
    public GenerationPlan WithPixels(ReadOnlyMemory<byte> rgb) => this with { Clips = [.. Clips.Select(clip => clip.WithPixels(rgb))] };

    // Settings may allow a size that the transformer has no position embeddings for.
    private static void Check(GenerationSettings clip, ITransformerConfig transformer)
    {
        var most = (transformer.MaxPatches ?? int.MaxValue) * (long)Patches.Size * VideoLength.Scale;
        foreach (var (what, value) in new[] { ("width", clip.Width), ("height", clip.Height) })
        {
            if (value > most)
                throw RequestFault.SizeBeyondPositions(what, value, most);
        }

        clip.Latents?.CheckChannels(transformer.LatentChannels);
    }

    // The options asked for, with what they leave open chosen for the budget or the memory of the machine.
    private static PipelineOptions Place(GenerationSettings clip, PlannedModel model, PipelineOptions options)
    {
        var device = options.Device ?? Device.Cpu;
        var type = ElementTypeChoice.Of(model, options).Type;
        options = options with { Type = type };
        if (options.MaxMemory is { } budget)
            return Left(MemoryBudget.Fit(model, clip, type, options, budget), budget);
        if (device.Type == DeviceType.Cpu)
            return MemoryBudget.Place(model, clip, type, options, MachineMemory.Available(), MachineMemory.Total);
        // If a GPU's memory is unknown, offload models: it costs little.
        if (DeviceMemory.Read(device) is not { } memory)
            return options with { Offload = options.Offload == Offload.Auto ? Offload.Model : options.Offload };
        var usable = memory.Free + memory.Cached + memory.InUse;
        var placed = MemoryBudget.Place(model, clip, type, options, usable, memory.Total);
        // Larger batches come before the history cache, which takes what is left.
        var enlarged = placed with { Sampler = placed.Sampler.EnlargedOn(device) with { HistoryBytes = 0 } };
        return Left(RunMemory.Of(model, clip, type, enlarged).Peak <= usable ? MemoryBudget.WithHistory(model, clip, type, options, enlarged, MemoryBudget.Spared(usable)) : placed, usable);

        // Kept weights with LoRAs come last: they have what everything else leaves.
        PipelineOptions Left(PipelineOptions whole, long bytes) =>
            whole with { LoraCacheBytes = Math.Max(0, Math.Min(options.LoraCacheBytes, bytes - RunMemory.Of(model, clip, type, whole).Peak)) };
    }
}
