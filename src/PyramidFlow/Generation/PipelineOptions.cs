using Microsoft.Extensions.Logging;
using PyramidFlow.Hub;
using PyramidFlow.Models.Lora;
using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Options of a pipeline: how it is loaded and how it works.</summary>
public sealed record PipelineOptions
{
    /// <summary>Which transformer of the checkpoint folder, such as 384p; null takes the folder's first.</summary>
    public string? Variant { get; init; }

    /// <summary>
    /// Element type to compute in; null takes bfloat16 on a GPU, and on a CPU where the transformer's weights are bfloat16, it is at least 256 wide, and products are at least 1.5 times
    /// as fast in it as in float32 (a measurement of some 30 ms, once in a process), else float32. <see cref="GenerationPlan.Placement"/> has the type of a run.
    /// </summary>
    public ElementType? Type { get; init; }

    /// <summary>Where to compute; null is the CPU.</summary>
    public Device? Device { get; init; }

    /// <summary>
    /// Threads of an operator; null takes the number of the thread that loads the pipeline. Small units are sampled on one thread. The number of threads may change the last digits of results. A
    /// thread that loads, decodes or makes latents itself keeps this number.
    /// </summary>
    public int? Threads { get; init; }

    /// <summary>Folder of a run of <c>train dit</c>, whose transformer takes the place of the checkpoint's (<see cref="CheckpointFolder.With"/>); null keeps that.</summary>
    public string? Transformer { get; init; }

    /// <summary>Folder of a run of <c>train vae</c>, whose VAE takes the place of the checkpoint's; null keeps that.</summary>
    public string? Vae { get; init; }

    /// <summary>LoRAs that are added to the transformer's weights, one after another.</summary>
    public IReadOnlyList<LoraUse> Loras { get; init; } = [];

    /// <summary>
    /// Most bytes of weights with the LoRAs of clips (<see cref="GenerationOptions.Loras"/>) that stay in memory for later clips with the same LoRAs, which then need no time for them; 0 keeps none. A clip
    /// whose LoRAs change more weights than that takes what it needs until it is made. Where <see cref="MaxMemory"/> or the memory of a GPU leaves less beside a run, the rest is freed before it.
    /// </summary>
    public long LoraCacheBytes { get; init; } = 1_000_000_000;

    /// <summary>How sampling trades speed for memory.</summary>
    public SamplerOptions Sampler { get; init; } = new();

    /// <summary>Decodes and encodes tiles of the frames one after another, which takes less memory and changes the picture near the seams; null uses whole frames.</summary>
    public TileOptions? Tiles { get; init; }

    /// <summary>Frames that the VAE encodes at a time, a multiple of 8 (one more the first time). Fewer take less memory; the latents are the same.</summary>
    public int EncodeWindow { get; init; } = 32;

    /// <summary>Latent frames that the VAE decodes at a time (one more the first time). Fewer take less memory; the frames are the same.</summary>
    public int DecodeWindow { get; init; } = 4;

    /// <summary>
    /// Whether each tile goes through the whole clip before the next, so that the frames before are remembered for one tile instead
    /// of all: much less memory for large frames, the same frames, but none before all latents are there. Needs weighted
    /// <see cref="Tiles"/>; where a cut history begins with decoded frames units are decoded one after another all the same.
    /// </summary>
    public bool TileByTile { get; init; }

    /// <summary>
    /// Whether units are decoded on a thread of their own while the next ones are sampled, where all models and the work of both fit the
    /// memory: the same frames in another time. Not with <see cref="TileByTile"/>.
    /// </summary>
    public bool OverlapDecoding { get; init; }

    /// <summary>
    /// Least time between two previews of the frame that is being denoised (<see cref="GenerationProgress.Preview"/>); they take up
    /// to a tenth of the time. There are none where this is null, and with any <see cref="Offload"/>, because the VAE is not in memory then.
    /// </summary>
    public TimeSpan? PreviewEvery { get; init; }

    /// <summary>When weights are in memory.</summary>
    public Offload Offload { get; init; }

    /// <summary>
    /// Most bytes that a run may take, including the program itself; null takes what the machine has. It determines how weights are held
    /// (unless <see cref="Offload"/> does), how much is sampled and decoded at a time and, where nothing else helps, the
    /// tiles.
    /// </summary>
    public long? MaxMemory { get; init; }

    /// <summary>Folder for encoded prompts, so that a prompt seen before needs no text encoder; null keeps none.</summary>
    public string? TextCache { get; init; }

    /// <summary>
    /// Several processes that make each video together; null is this process alone. All load the same checkpoint and make the same calls. Rank zero gives the
    /// frames; the runs of the others end without any. A cancelled token of one process, or a reader or report that fails, stops all of them before the same evaluation, with
    /// <see cref="OperationCanceledException"/>; then they can make the next run.
    /// </summary>
    public VideoParallel? Parallel { get; init; }

    /// <summary>Takes warnings, such as that a prompt was cut; null drops them (<see cref="GenerationRun.Warnings"/> has them too).</summary>
    public ILogger? Logger { get; init; }

    /// <summary>How many times as fast as in float32 products are in bfloat16 on this CPU; null measures it where it decides the type.</summary>
    internal double? NarrowSpeedup { get; init; }

    /// <summary>Opens a checkpoint, given as a folder or as the name of an installed model, with the models of runs that these options name.</summary>
    /// <exception cref="CheckpointException">There is no checkpoint or no such model, or one does not fit.</exception>
    internal CheckpointFolder Open(string checkpoint) => CheckpointFolder.Open(Folder(checkpoint)).With(Transformer, Vae, Variant);

    // A folder goes before a name, as on the command line.
    private static string Folder(string checkpoint) =>
        Directory.Exists(checkpoint) || Path.GetFileName(checkpoint) != checkpoint ? checkpoint : ModelCatalog.FindInstalled(checkpoint) ?? checkpoint;

    /// <summary>Whether a clip is decoded tile by tile.</summary>
    internal bool DecodesByTile(SamplingPlan plan) => TileByTile && plan.Window is null;

    /// <summary>Whether units of a clip are decoded while the next ones are sampled.</summary>
    internal bool Overlaps(SamplingPlan plan) =>
        OverlapDecoding && Sampler.Ways is not { SharesDecoding: true } && Offload is Offload.None or Offload.Auto && !DecodesByTile(plan) && plan.Units > 1;

    /// <summary>Refuses values that are impossible for every checkpoint.</summary>
    internal void Check()
    {
        if (EncodeWindow < 1 || EncodeWindow % VideoLength.Scale != 0)
            throw RequestFault.EncodeWindow(EncodeWindow, VideoLength.Scale);
        if (DecodeWindow < 1)
            throw RequestFault.DecodeWindow(DecodeWindow);
        if (MaxMemory is { } budget and < 1)
            throw RequestFault.NoBudget(budget);
        Tiles?.Check(VideoLength.Scale);
        if (TileByTile && Tiles is not { CanGoOneByOne: true })
            throw RequestFault.TilesCannotGoOneByOne();
    }
}

/// <summary>When weights are in memory; results are bit-identical.</summary>
public enum Offload
{
    /// <summary>Always, except text encoders that no prompt has needed yet.</summary>
    None,

    /// <summary>
    /// One model at a time: text encoders, transformer and VAE make room for one another. T5, which reads each weight once
    /// for a prompt, is streamed block by block.
    /// </summary>
    Model,

    /// <summary>Like <see cref="Model"/>, and streams the transformer block by block, prefetching the next one.</summary>
    Sequential,

    /// <summary>The first of the others that fits the free memory.</summary>
    Auto,
}
