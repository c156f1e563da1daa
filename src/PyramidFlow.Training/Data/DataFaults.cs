using PyramidFlow.Media;
using PyramidFlow.Torch;

namespace PyramidFlow.Training.Data;

/// <summary>Collects the unusable items of a run, each line once. Thread-safe.</summary>
/// <param name="onFault">Called for each new fault, on the thread that found it; may be null.</param>
public sealed class FaultLog(Action<DataFault>? onFault = null)
{
    private const int MostNamed = 5;

    private readonly Lock gate = new();
    private readonly List<DataFault> faults = [];
    private readonly HashSet<(string File, int Line)> places = [];

    /// <summary>All faults so far, in the order they were found.</summary>
    public IReadOnlyList<DataFault> Faults
    {
        get
        {
            lock (gate)
                return [.. faults];
        }
    }

    /// <summary>Adds a fault unless the same line already has one.</summary>
    public void Add(DataFault fault)
    {
        lock (gate)
        {
            if (!places.Add((fault.File, fault.Line)))
                return;
            faults.Add(fault);
        }

        onFault?.Invoke(fault);
    }

    /// <summary>Summary for the end of a run: counts by kind and the first few faults; empty if there are none.</summary>
    public IReadOnlyList<string> Summary() => Summary([.. Faults.Select(LeftOutItem.Of)]);

    /// <summary>The same for a list of items.</summary>
    internal static IReadOnlyList<string> Summary(IReadOnlyList<LeftOutItem> all)
    {
        if (all.Count == 0)
            return [];
        var kinds = all.GroupBy(fault => fault.Kind).OrderBy(group => group.Key).Select(group => $"{group.Count()} {Name(group.Key)}");
        var more = all.Count > MostNamed ? (string[])[$"and {all.Count - MostNamed} more"] : [];
        return [$"{all.Count} of the items could not be used: {string.Join(", ", kinds)}", .. all.Take(MostNamed).Select(fault => fault.ToString()), .. more];
    }

    /// <summary>Display name of a kind.</summary>
    public static string Name(DataFaultKind kind) => kind switch
    {
        DataFaultKind.Line => "malformed",
        DataFaultKind.Missing => "missing",
        DataFaultKind.Damaged => "damaged",
        DataFaultKind.TooShort => "too short",
        DataFaultKind.TooSmall => "too small",
        DataFaultKind.NoCaption => "without a caption",
        DataFaultKind.OtherModel => "of another model",
        DataFaultKind.Changed => "changed during the run",
        _ => "of another shape or type",
    };
}

/// <summary>An unusable item of a data set.</summary>
/// <param name="File">The annotation file, the folder with texts or the shard.</param>
/// <param name="Line">Number of the line or item, from 1; 0 is a whole shard.</param>
/// <param name="Kind">Kind of the fault.</param>
/// <param name="Error">The cause, with its code: of the training, of a picture or video, or of a file of tensors.</param>
public sealed record DataFault(string File, int Line, DataFaultKind Kind, PyramidFlowException Error)
{
    /// <summary>Path of the video, image or latents; null where the line names none.</summary>
    public string? Item { get; init; }

    /// <summary>The cause as a sentence; names the media file if there is one.</summary>
    public string Reason => Error.Message;

    /// <inheritdoc/>
    public override string ToString() => TrainingFault.Item(File, Line, Reason, Item);
}

/// <summary>Why an item of a data set cannot be used.</summary>
public enum DataFaultKind
{
    /// <summary>The line of the annotation file is malformed or incomplete.</summary>
    Line,

    /// <summary>A file is missing.</summary>
    Missing,

    /// <summary>A file is empty, truncated, damaged or of another format.</summary>
    Damaged,

    /// <summary>The video is shorter than the clip.</summary>
    TooShort,

    /// <summary>The picture is much smaller than its bucket.</summary>
    TooSmall,

    /// <summary>Latents or text features have another shape, size or element type.</summary>
    WrongShape,

    /// <summary>There is no caption where one is needed.</summary>
    NoCaption,

    /// <summary>Latents or text features come from another model than that of the training.</summary>
    OtherModel,

    /// <summary>A file is not the one that was scanned: it was changed or replaced since.</summary>
    Changed,
}

/// <summary>An unusable item; the run continues without it.</summary>
/// <param name="kind">Kind of the fault.</param>
/// <param name="error">The cause.</param>
internal sealed class BadItemException(DataFaultKind kind, PyramidFlowException error) : Exception(error.Message, error)
{
    public PyramidFlowException Error => error;

    public BadItemException With(PyramidFlowException other) => new(kind, other);

    public DataFault Fault(Annotation annotation) => Fault(annotation.File, annotation.Line) with { Item = annotation.Media ?? annotation.Latent };

    public DataFault Fault(string file, int line) => new(file, line, kind, error);
}

/// <summary>Limit on the share of bad items.</summary>
internal static class BadShare
{
    private const double Most = 0.9;

    /// <summary>Whether nearly all items are bad: nine of ten, or the only ones.</summary>
    public static bool IsTooMuch(int bad, int all) => bad > 0 && bad >= Most * all;
}

/// <summary>Converts errors of the media readers into faults of an item.</summary>
internal static class MediaFaults
{
    /// <summary>Reads from a file.</summary>
    /// <exception cref="BadItemException">The file is missing or unreadable. A missing ffmpeg is not a fault of the item.</exception>
    public static async Task<T> GuardAsync<T>(string path, Func<Task<T>> read)
    {
        if (!File.Exists(path))
            throw Missing(path);
        try
        {
            return await read().ConfigureAwait(false);
        }
        catch (MediaException e) when (e.Code != MediaFault.ProgramMissingCode)
        {
            // It may have been deleted after it was opened.
            throw File.Exists(path) ? new BadItemException(DataFaultKind.Damaged, e) : Missing(path);
        }
    }

    public static BadItemException Missing(string path) => new(DataFaultKind.Missing, TrainingFault.FileMissing(path));
}
