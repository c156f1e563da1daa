using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Peak memory of each phase of a run: held weights plus activations.</summary>
/// <param name="Text">Bytes while prompts are encoded.</param>
/// <param name="Transformer">While latents are sampled.</param>
/// <param name="Decoder">While they are decoded.</param>
internal sealed record RunMemory(long Text, long Transformer, long Decoder)
{
    /// <summary>Memory of the process beside its tensors.</summary>
    internal const long Base = 670L << 20;

    /// <summary>The most of all phases.</summary>
    public long Peak => Math.Max(Text, Math.Max(Transformer, Decoder));

    /// <summary>Estimates a run.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="options">
    /// When weights are in memory, tiles, windows, blocks of queries, limit of the history cache; <see cref="Offload.Auto"/> counts as none, and a history
    /// cache without a limit is not counted, because it takes what is left.
    /// </param>
    public static RunMemory Of(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options) =>
        Of(model, settings, type, options, ProcessWork.All);

    /// <summary>Estimates one of several processes that make a clip together.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="options">As for one process, with the ways of the sampler.</param>
    /// <param name="rank">The process.</param>
    public static RunMemory OfProcess(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, int rank)
    {
        var (ways, plan) = (options.Sampler.Ways!, settings.Sampling);
        var decoders = ways.DecodersOf(plan, options);
        return Of(model, settings, type, options, new ProcessWork(rank == 0, rank >= ways.Decode, rank < decoders || plan.Window is not null));
    }

    private static RunMemory Of(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, ProcessWork work)
    {
        var (sizes, plan, device) = (model.Sizes, settings.Sampling, (options.Device ?? Device.Cpu).Type);
        var transformer = TransformerWork(model.Transformer, plan, settings.IsConditioned ? 1 : 0, type, options.Sampler, device)
            + sizes.Transformer.UnpackedBytes(type);
        var decoder = DecoderMemory.Peak(model.Vae, new DecodedClip(plan.Height, plan.Width, plan.First, plan.FramesPerUnit, plan.Frames),
            options.DecodeWindow, options.Tiles, options.DecodesByTile(plan), type, options.Sampler.Ways?.DecodersOf(plan, options) ?? 1);
        var text = TextWork(model.T5, type) + sizes.Text[^1].UnpackedBytes(type);
        var all = sizes.All.Sum(size => size.Bytes(type));
        var vae = sizes.Vae.IsMapped(type, device) && !settings.IsConditioned ? sizes.VaeDecoder.Bytes(type) : sizes.Vae.Bytes(type);
        if (options.Overlaps(plan))
            (transformer, decoder) = (transformer + decoder, transformer + decoder);
        // The history cache stays from unit to unit, also while one is decoded.
        var history = HistoryPlan.Bytes(plan, model.Transformer, type, options.Sampler);
        (transformer, decoder) = (transformer + history, decoder + (work.Samples ? history : 0));
        // What a process does not do takes no memory. All have transformer and VAE; files that are mapped and not used stay on the disk.
        (text, transformer, decoder) = (work.Encodes ? text : 0, work.Samples ? transformer : 0, work.Decodes ? decoder : 0);
        if (!work.Encodes)
            all -= sizes.Text.Sum(size => size.Bytes(type));
        if (!work.Samples && sizes.Transformer.IsMapped(type, device))
            all -= sizes.Transformer.Bytes(type);
        if (!work.Decodes && !settings.IsConditioned && sizes.Vae.IsMapped(type, device))
            all -= sizes.Vae.Bytes(type);
        return options.Offload is Offload.None or Offload.Auto
            ? new RunMemory(Base + all + text, Base + all + transformer, Base + all + decoder)
            : new RunMemory(Base + (work.Encodes ? sizes.Text.Sum(size => size.StreamedBytes(type, device)) : 0) + text, Base + Held(sizes.Transformer) + transformer, Base + vae + decoder);

        long Held(WeightSizes size) => options.Offload == Offload.Sequential ? size.StreamedBytes(type, device) : size.Bytes(type);
    }

    // What a process does: it encodes texts, samples, decodes.
    private readonly record struct ProcessWork(bool Encodes, bool Samples, bool Decodes)
    {
        internal static ProcessWork All => new(true, true, true);
    }

    /// <summary>Most bytes of the largest stage of the units from the first one that is sampled.</summary>
    internal static long TransformerWork(ITransformerConfig config, SamplingPlan plan, int first, ElementType type, SamplerOptions sampler, DeviceType device)
    {
        var (most, approximations) = (0L, plan.Approximations);
        for (var unit = first; unit < plan.Units; unit++)
        {
            for (var stage = 0; stage < plan.Stages; stage++)
            {
                var shape = WorkCount.OwnShape(config, plan, unit, stage, sampler);
                most = Math.Max(most, TransformerMemory.Stage(config, shape, Own(plan.EvaluationsOf(unit, stage)), type, device, sampler.Attention,
                    WorkCount.UsesPrefix(config, shape, sampler) ? sampler.PrefixBytes : null, approximations.ReusePrefix > 1, approximations.GuidanceEvery > 1,
                    sampler.Ways?.Heads ?? 1));
            }
        }

        return most;

        // The most that a process owns; the first part may be empty where there are more parts than timesteps.
        int Own(int evaluations) => sampler.Ways is { Timesteps: > 1 and var parts }
            ? Enumerable.Range(0, parts).Max(part => SamplingTeam.Share(part, parts, evaluations, approximations.Together).GetOffsetAndLength(evaluations).Length) : evaluations;
    }

    /// <summary>Most bytes while prompts are encoded: scores of all heads with their softmax, and the feed-forward part at its widest.</summary>
    /// <param name="t5">The largest text encoder.</param>
    /// <param name="type">Element type.</param>
    /// <param name="prompts">Prompts at a time.</param>
    internal static long TextWork(T5EncoderConfig t5, ElementType type, int prompts = 1)
    {
        const long tokens = PromptEncoder.MaxTokens;
        return prompts * ((tokens * tokens * t5.NumHeads * (type.Size() + (3 * sizeof(float)))) + (tokens * ((4 * t5.DFf) + (12 * t5.DModel)) * type.Size()));
    }
}
