using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Checkpoints;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Generation;

/// <summary>
/// A file that keeps the latents of the finished units of a run (<see cref="GenerationPlan.ResumeFile"/>). A later run of the same plan, with the same weights and the same version of the program,
/// samples only the units after them, with the draws and the result of a run without an interruption. Anything else begins with the first unit, and replaces the file.
/// It is written after each unit, atomically, and stays when the run ends: its owner deletes it when the frames are safe.
/// </summary>
/// <param name="Path">The file; its folder exists. Of several processes that make the video together only rank zero reads and writes it.</param>
public sealed record ResumeFile(string Path)
{
    /// <summary>Receives the number of units after which a run goes on, or the reason why a file is not used; null logs nothing.</summary>
    public ILogger? Logger { get; init; }
}

/// <summary>Units of a clip that an earlier run has finished. Rank zero of several processes has their file and gives the latents to the others.</summary>
internal sealed class FinishedUnits : IDisposable
{
    private readonly SamplingPlan sampling;
    private readonly PipelineModels models;
    private readonly ProcessGroup? group;
    private readonly UnitFile? file;

    /// <summary>Reads the file of a clip, in all processes at once.</summary>
    /// <param name="plan">The plan that all processes execute.</param>
    /// <param name="clip">The clip.</param>
    /// <param name="models">The models, whose identity the file must have.</param>
    internal FinishedUnits(GenerationPlan plan, GenerationSettings clip, PipelineModels models)
    {
        (sampling, this.models, group) = (clip.Sampling, models, plan.Placement.Parallel?.Group);
        file = group is not { Rank: > 0 } && plan.ResumeFile is { } place ? UnitFile.Open(place, plan, clip, models) : null;
        long[] state = [file?.Count ?? 0, file is { IsWidened: true } ? 1 : 0];
        group?.Broadcast<long>(state);
        (Count, IsWidened) = ((int)state[0], state[1] != 0);
    }

    /// <summary>Number of units that need not be sampled.</summary>
    internal int Count { get; }

    /// <summary>Whether the transformer in the wider type made the last of them, so that it makes the rest too.</summary>
    internal bool IsWidened { get; }

    /// <summary>
    /// The latents of the next finished unit. All processes take each unit at the same time, so that none waits for rank zero, which decodes them, longer than it does while units are sampled.
    /// </summary>
    /// <param name="unit">Its number, from 0.</param>
    /// <returns>Normalised latents [1, c, t, h, w] on the CPU, in the caller's scope.</returns>
    internal Tensor Take(int unit)
    {
        var latents = file?.Of(unit).Clone() ?? Tensor.Empty([1, models.Transformer.Config.LatentChannels, sampling.FramesOf(unit), sampling.Height, sampling.Width], models.Type);
        group?.Broadcast(latents);
        return latents;
    }

    /// <summary>Keeps another unit.</summary>
    /// <param name="latents">Its normalised latents, [1, c, t, h, w].</param>
    /// <param name="isWidened">Whether the transformer in the wider type makes the rest of the clip.</param>
    internal void Keep(Tensor latents, bool isWidened) => file?.Add(latents, isWidened);

    /// <inheritdoc/>
    public void Dispose() => file?.Dispose();
}

/// <summary>The file of finished units: one safetensors file with their latents, a digest of them, and the identity of the run.</summary>
internal sealed partial class UnitFile : IDisposable
{
    // Counts up when the same latents would be kept in another way.
    private const int Version = 1;

    private const string Key = "latents", RunKey = "run", DigestKey = "sha256", WidenedKey = "widened";
    private const long MostHeaderBytes = 1 << 16;

    private readonly string path, run;
    private readonly SamplingPlan sampling;
    private readonly long channels;
    private readonly ElementType type;
    private readonly ILogger? log;
    private readonly List<Tensor> units = [];
    private bool isUnwritable;

    /// <summary>Reads the file where there is one of the same run.</summary>
    /// <param name="place">Where it is.</param>
    /// <param name="run">Identity of the run.</param>
    /// <param name="sampling">Units of the clip.</param>
    /// <param name="channels">Channels of the latents.</param>
    /// <param name="type">Their element type.</param>
    internal UnitFile(ResumeFile place, string run, SamplingPlan sampling, long channels, ElementType type)
    {
        (path, log, this.run, this.sampling, this.channels, this.type) = (place.Path, place.Logger, run, sampling, channels, type);
        if (File.Exists(path))
            Read();
    }

    /// <summary>Number of units in the file.</summary>
    internal int Count => units.Count;

    /// <summary>Whether the transformer in the wider type makes the rest of the clip.</summary>
    internal bool IsWidened { get; private set; }

    /// <summary>The file of a run.</summary>
    /// <returns>Null where the weights have no identity any more, because their files are gone; nothing is kept then.</returns>
    internal static UnitFile? Open(ResumeFile place, GenerationPlan plan, GenerationSettings clip, PipelineModels models)
    {
        string run;
        try
        {
            run = IdentityOf(plan, clip, models);
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            if (place.Logger is { } log)
                LogUnwritten(log, place.Path, e.Message);
            return null;
        }

        return new UnitFile(place, run, clip.Sampling, models.Transformer.Config.LatentChannels, models.Type);
    }

    /// <summary>The latents of a unit; they stay this object's.</summary>
    internal Tensor Of(int unit) => units[unit];

    /// <summary>Adds a unit and writes the file. A file that cannot be written does not end the run.</summary>
    internal void Add(Tensor latents, bool isWidened)
    {
        using var noGrad = NoGrad.Begin();
        using var scope = new TensorScope();
        units.Add(TensorScope.Release(latents.To(type).To(Device.Cpu).Clone()));
        var all = Tensor.Cat([.. units], 2).Contiguous();                                            // [1, c, t, h, w]
        var metadata = new Dictionary<string, string> { [RunKey] = run, [DigestKey] = Digest(all.RawBytes()), [WidenedKey] = isWidened ? "true" : "false" };
        try
        {
            SafetensorsWriter.Write(path, [(Key, all)], metadata);
            isUnwritable = false;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            if (!isUnwritable && log is not null)
                LogUnwritten(log, path, e.Message);
            isUnwritable = true;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => units.ForEach(unit => unit.Dispose());

    // The file lies in a folder of its owner, but may be that of another run, or damaged.
    private void Read()
    {
        var fault = "it belongs to another version of the program, another model or other settings";
        try
        {
            using var noGrad = NoGrad.Begin();
            using var scope = new TensorScope();
            if (new FileInfo(path).Length > MostHeaderBytes + (channels * sampling.Frames * sampling.Height * sampling.Width * type.Size()))
                fault = "it is longer than all units together";
            else
            {
                using var file = SafetensorsFile.Open(path);
                if (file.Metadata.GetValueOrDefault(RunKey) == run)
                    fault = Read(file);
            }
        }
        catch (Exception e) when (e is CheckpointException or IOException or UnauthorizedAccessException)
        {
            fault = e.Message;
        }

        if (log is null)
            return;
        if (fault.Length > 0)
            LogLeftOut(log, path, fault);
        else
            LogResumed(log, path, units.Count, sampling.Units);
    }

    private string Read(SafetensorsFile file)
    {
        if (!file.Entries.TryGetValue(Key, out var entry) || entry.Type != type || entry.Shape is not [1, _, var frames, _, _]
            || entry.Shape[1] != channels || entry.Shape[3] != sampling.Height || entry.Shape[4] != sampling.Width
            || frames < sampling.First || frames > sampling.Frames || (frames - sampling.First) % sampling.FramesPerUnit != 0)
            return "its latents are not those of whole units";
        var latents = file.Read(Key);
        if (file.Metadata.GetValueOrDefault(DigestKey) != Digest(file.Bytes(Key)) || !latents.AllFinite())
            return "its latents are damaged";
        for (var start = 0; start < frames; start += sampling.FramesOf(units.Count - 1))
            units.Add(TensorScope.Release(latents.Narrow(2, start, sampling.FramesOf(units.Count)).Clone()));
        IsWidened = file.Metadata.GetValueOrDefault(WidenedKey) == "true";
        return "";
    }

    // Everything that the latents depend on. How the work is divided, and by how many threads, changes their last digits only.
    private static string IdentityOf(GenerationPlan plan, GenerationSettings clip, PipelineModels models)
    {
        // Tiles change what is encoded: the beginning, or the frame at which a history window begins.
        var tiles = clip.Pixels is null && clip.Sampling.Window is null ? null : plan.Placement.Tiles;
        var given = clip.Pixels is { } pixels ? Digest(pixels.Span) : clip.Latents is { } latents ? Digest(System.Runtime.InteropServices.MemoryMarshal.AsBytes(latents.Values.Span)) : "";
        (string Name, string Value)[] facts =
        [
            ("file", FormattableString.Invariant($"{Version}")), ("program", $"{TorchRuntime.ProgramVersion(typeof(UnitFile).Assembly)} {TorchRuntime.Version}"), ("model", models.Identity!),
            ("type", models.Type.ToString()), ("tiles", tiles is null ? "" : FormattableString.Invariant($"{tiles.Size} {tiles.Overlap}")),
            ("seed", FormattableString.Invariant($"{clip.Seed}")), ("settings", SettingsTable.ToJson(clip.Options, setting => setting.IsNoted ? setting.Name : null)), ("given", given),
            .. VideoParallel.Facts(clip),
        ];
        return Digest(Encoding.UTF8.GetBytes(string.Join('\n', facts)));
    }

    private static string Digest(ReadOnlySpan<byte> bytes) => Convert.ToHexStringLower(SHA256.HashData(bytes));

    [LoggerMessage(Level = LogLevel.Information, Message = "{Path}: goes on after {Finished} of {Units} units")]
    private static partial void LogResumed(ILogger log, string path, int finished, int units);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path}: the finished units cannot be used, so the first unit is made again: {Reason}")]
    private static partial void LogLeftOut(ILogger log, string path, string reason);

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path}: finished units cannot be kept, so an interrupted run would begin anew: {Reason}")]
    private static partial void LogUnwritten(ILogger log, string path, string reason);
}
