using PyramidFlow.Models;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>Chooses the fastest options with which a run fits a memory budget.</summary>
internal static class MemoryBudget
{
    private const int LargeTile = 256;

    // The share of the free memory, one in so many, that the history cache leaves to other programs.
    private const int Spare = 8;

    private static readonly Offload[] AllWays = [Offload.None, Offload.Model, Offload.Sequential];
    private static readonly long[] PrefixBytes = [2L << 30, 512L << 20, 128L << 20, 32L << 20, 0];
    private static readonly int[] QueryBlocks = [256, 128, 64, 32];
    private static readonly int[] Windows = [4, 2, 1];

    /// <summary>Chooses when weights are in memory, if that was left open, and the history cache; nothing else changes.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="options">The options asked for.</param>
    /// <param name="available">Bytes free now.</param>
    /// <param name="total">Bytes of the machine.</param>
    /// <exception cref="RequestException">It does not fit even if nothing else runs.</exception>
    public static PipelineOptions Place(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, long available, long total)
    {
        var placed = Ways(options).Select(way => WithoutHistory(options) with { Offload = way, OverlapDecoding = false }).ToList();
        var peaks = placed.ConvertAll(each => RunMemory.Of(model, settings, type, each).Peak);
        var fits = peaks.FindIndex(peak => peak <= available);
        if (fits < 0 && peaks[^1] > total)
        {
            var place = options.Device is { Type: DeviceType.Cuda } gpu ? gpu.ToString() : "this machine";
            throw RequestFault.MachineTooSmall(Clip(settings), peaks[^1], place, total);
        }

        PipelineOptions[] fitting = [.. placed.Where((_, i) => fits < 0 ? i == placed.Count - 1 : peaks[i] <= available)];
        return MostHistory([.. fitting.Select(each => WithHistory(model, settings, type, options, Overlapped(model, settings, type, options, each, available), Spared(available)))], options);
    }

    // On a CPU, reading the weights of a model once for each unit costs less than computing a history that has no place beside all models. Streaming
    // blocks at each step costs more.
    private static PipelineOptions MostHistory(IReadOnlyList<PipelineOptions> fitting, PipelineOptions asked) => asked.Device is { Type: not DeviceType.Cpu } ? fitting[0]
        : fitting.Where((each, i) => i == 0 || each.Offload != Offload.Sequential).MaxBy(each => each.Sampler.HistoryBytes)!;

    /// <summary>Free memory less the share that the history cache leaves to other programs.</summary>
    internal static long Spared(long available) => available - (available / Spare);

    /// <summary>Gives the history cache what is left of the memory, at most as much as was asked for.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="asked">The options asked for.</param>
    /// <param name="placed">The options of the run.</param>
    /// <param name="bytes">Bytes that the run may take.</param>
    internal static PipelineOptions WithHistory(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions asked, PipelineOptions placed, long bytes)
    {
        var left = Math.Max(0, bytes - RunMemory.Of(model, settings, type, WithoutHistory(placed)).Peak);
        var limited = placed with { Sampler = placed.Sampler with { HistoryBytes = Math.Min(left, asked.Sampler.HistoryBytes ?? long.MaxValue) } };
        return limited with { Sampler = limited.Sampler with { HistoryBytes = HistoryPlan.Bytes(settings.Sampling, model.Transformer, type, limited.Sampler) } };
    }

    /// <summary>Options that keep a run within a budget.</summary>
    /// <param name="model">The checkpoint.</param>
    /// <param name="settings">The clip.</param>
    /// <param name="type">Element type.</param>
    /// <param name="options">What was asked for: what is not left to choose stays, such as tiles or a way to offload.</param>
    /// <param name="bytes">The budget.</param>
    /// <returns>Options whose <see cref="PipelineOptions.Offload"/> is not <see cref="Offload.Auto"/>.</returns>
    /// <exception cref="RequestException">Nothing fits; the message gives the least that works and what to change.</exception>
    public static PipelineOptions Fit(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, long bytes)
    {
        var asked = options;
        options = WithoutHistory(options);
        if (Find(model, settings, type, options, bytes) is { } fitting)
            return WithHistory(model, settings, type, asked, Overlapped(model, settings, type, options, fitting, bytes), bytes);

        // Small tiles overlap more, so the state kept for them grows: the smallest tiles do not always take the least memory.
        var way = Ways(options)[^1];
        var decodes = Decoders(settings, options with { Offload = way, OverlapDecoding = false }).MinBy(each => RunMemory.Of(model, settings, type, each).Decoder)!;
        var least = RunMemory.Of(model, settings, type, Transformers(decodes).Last());
        if (bytes <= RunMemory.Base)
            throw RequestFault.BudgetBelowProgram(Clip(settings), least.Peak, RunMemory.Base, bytes);
        List<MemoryRemedy> remedies = [];
        var conversion = Int8Conversion(model, settings, type, options, bytes);
        if (conversion is not null)
            remedies.Add(new("int8", conversion));
        if (options.Offload is not (Offload.Auto or Offload.Sequential))
            remedies.Add(new("sequential", "offload one block at a time (sequential)"));
        if ((least.Text == least.Peak || least.Transformer == least.Peak) && conversion is null)
            remedies.Add(new("smaller_model", "take a smaller model"));
        if (least.Decoder == least.Peak || least.Transformer == least.Peak)
            remedies.Add(new("smaller_frames", "make smaller or fewer frames"));
        if (type == ElementType.Float32)
            remedies.Add(new("bfloat16", "compute in bfloat16 (bf16)"));
        throw RequestFault.BudgetTooSmall(Clip(settings), least.Peak, bytes, remedies);
    }

    /// <summary>Suggests a conversion to int8, where it lets a run fit a budget, or fit without streaming blocks.</summary>
    /// <returns>A clause; null where int8 does not help.</returns>
    public static string? Int8Conversion(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, long bytes)
    {
        options = WithoutHistory(options);
        if (model.AsInt8 is not { } rounded || Find(rounded, settings, type, options, bytes) is not { } fitting)
            return null;
        if (Find(model, settings, type, options, bytes) is { } present && (present.Offload != Offload.Sequential || fitting.Offload == Offload.Sequential))
            return null;
        return $"convert it to int8 (models convert {model.Name} {rounded.Name} --int8), which fits with --offload {fitting.Offload.ToString().ToLowerInvariant()}";
    }

    // Overlaps decoding with sampling where that was asked for and fits.
    private static PipelineOptions Overlapped(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions asked, PipelineOptions placed, long bytes)
    {
        var overlapped = placed with { OverlapDecoding = asked.OverlapDecoding };
        return RunMemory.Of(model, settings, type, overlapped).Peak <= bytes ? overlapped : placed;
    }

    private static string Clip(GenerationSettings settings) => $"{settings.Width}x{settings.Height} with {settings.Frames} {(settings.Frames == 1 ? "frame" : "frames")}";

    // What the history cache takes is decided last.
    private static PipelineOptions WithoutHistory(PipelineOptions options) => options with { Sampler = options.Sampler with { HistoryBytes = 0 } };

    private static Offload[] Ways(PipelineOptions options) => options.Offload == Offload.Auto ? AllWays : [options.Offload];

    // Small tiles, and decoding tile by tile, cost more time than offloading models.
    private static PipelineOptions? Find(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, long bytes)
    {
        options = options with { OverlapDecoding = false };
        return new[] { true, false }.SelectMany(quick => Ways(options).Select(way => Fitting(options with { Offload = way }, quick)))
            .FirstOrDefault(fitting => fitting is not null);

        PipelineOptions? Fitting(PipelineOptions asked, bool quick)
        {
            if (RunMemory.Of(model, settings, type, asked).Text > bytes)
                return null;
            var decoders = Decoders(settings, asked).Where(each => !quick || (IsLarge(each.Tiles) && each.TileByTile == asked.TileByTile));
            return decoders.FirstOrDefault(each => RunMemory.Of(model, settings, type, each).Decoder <= bytes) is { } decodes
                ? Transformers(decodes).FirstOrDefault(each => RunMemory.Of(model, settings, type, each).Transformer <= bytes)
                : null;
        }
    }

    // Ordered from the smallest change to the least memory: first windows, because tiles change the picture a little; then tile by
    // tile, which delays all frames to the end; small tiles last.
    private static IEnumerable<PipelineOptions> Decoders(GenerationSettings settings, PipelineOptions asked)
    {
        int?[] sizes = asked.Tiles is null ? [null, .. TileOptions.Sizes] : [asked.Tiles.Size];
        TileOptions?[] all = [.. sizes.Select(size => size is { } side ? (asked.Tiles ?? new TileOptions()) with { Size = side } : null)];
        var byTile = all.Where(tiles => asked.TileByTile || MayGoByTile(settings, tiles)).Select(tiles => (Tiles: tiles, ByTile: true));
        var streamed = asked.TileByTile ? [] : all.Select(tiles => (Tiles: tiles, ByTile: false));
        return from decoder in streamed.Where(each => IsLarge(each.Tiles)).Concat(byTile).Concat(streamed.Where(each => !IsLarge(each.Tiles)))
               from window in Windows.Where(window => window < asked.DecodeWindow).Prepend(asked.DecodeWindow)
               select asked with { DecodeWindow = window, Tiles = decoder.Tiles, TileByTile = decoder.ByTile };
    }

    private static bool IsLarge(TileOptions? tiles) => tiles is not { Size: < LargeTile };

    private static bool MayGoByTile(GenerationSettings settings, TileOptions? tiles) =>
        tiles is { CanGoOneByOne: true } && settings.Sampling.Window is null && Math.Max(settings.Width, settings.Height) > tiles.Size;

    private static IEnumerable<PipelineOptions> Transformers(PipelineOptions asked)
    {
        var (sampler, attention) = (asked.Sampler, asked.Sampler.Attention);
        return from block in QueryBlocks.Where(block => block < attention.QueryBlock).Prepend(attention.QueryBlock)
               from ahead in PrefixBytes.Where(ahead => ahead < sampler.PrefixBytes).Prepend(sampler.PrefixBytes)
               select asked with { Sampler = sampler with { PrefixBytes = ahead, Attention = attention.InBlocksOf(block) } };
    }
}
