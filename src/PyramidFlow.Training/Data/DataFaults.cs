using System.ComponentModel;
using PyramidFlow.Media;

namespace PyramidFlow.Training.Data;

/// <summary>The items of a run that could not be used, each named once. Any thread may add.</summary>
/// <param name="told">Called for each new fault, on the thread that found it; null is nobody.</param>
public sealed class FaultLog(Action<DataFault>? told = null)
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

    /// <summary>Adds a fault, unless one of the same line is there.</summary>
    public void Add(DataFault fault)
    {
        lock (gate)
        {
            if (!places.Add((fault.File, fault.Line)))
                return;
            faults.Add(fault);
        }

        told?.Invoke(fault);
    }

    /// <summary>What to say at the end of a run: how many of each kind and the first few by name; empty when all was well.</summary>
    public IReadOnlyList<string> Summary()
    {
        var all = Faults;
        if (all.Count == 0)
            return [];
        var kinds = all.GroupBy(fault => fault.Kind).OrderBy(group => group.Key).Select(group => $"{group.Count()} {Name(group.Key)}");
        var more = all.Count > MostNamed ? (string[])[$"and {all.Count - MostNamed} more"] : [];
        return [$"{all.Count} of the items could not be used: {string.Join(", ", kinds)}", .. all.Take(MostNamed).Select(fault => fault.ToString()), .. more];
    }

    /// <summary>A kind in the user's words.</summary>
    public static string Name(DataFaultKind kind) => kind switch
    {
        DataFaultKind.Line => "malformed",
        DataFaultKind.Missing => "missing",
        DataFaultKind.Damaged => "damaged",
        DataFaultKind.TooShort => "too short",
        DataFaultKind.TooSmall => "too small",
        _ => "of another shape or type",
    };
}

/// <summary>One item of a data set that cannot be used.</summary>
/// <param name="File">Annotation file.</param>
/// <param name="Line">Line in it, from 1.</param>
/// <param name="Kind">What kind of fault it is.</param>
/// <param name="Reason">What is wrong; names the media file where there is one.</param>
public sealed record DataFault(string File, int Line, DataFaultKind Kind, string Reason)
{
    /// <inheritdoc/>
    public override string ToString() => $"{File}, line {Line}: {Reason}";
}

/// <summary>Why an item of a data set cannot be used.</summary>
public enum DataFaultKind
{
    /// <summary>The line of the annotation file is malformed, or lacks what is needed.</summary>
    Line,

    /// <summary>A file is not there.</summary>
    Missing,

    /// <summary>A file is empty, cut off, damaged, or of another kind.</summary>
    Damaged,

    /// <summary>The video is shorter than the clip.</summary>
    TooShort,

    /// <summary>The picture is much smaller than what is made of it.</summary>
    TooSmall,

    /// <summary>Latents or text features of another shape, size or element type.</summary>
    WrongShape,
}

/// <summary>Training data that cannot be used; the message names the file, the line where there is one, and what would do.</summary>
public sealed class DataException : Exception
{
    /// <summary>With one sentence for the user.</summary>
    public DataException(string message)
        : base(message)
    {
    }

    /// <summary>With one sentence for the user and the fault below it.</summary>
    public DataException(string message, Exception inner)
        : base(message, inner)
    {
    }
}

/// <summary>An item that cannot be used; the run goes on without it.</summary>
internal sealed class BadItemException(DataFaultKind kind, string reason, Exception? inner = null) : Exception(reason, inner)
{
    public DataFaultKind Kind { get; } = kind;

    public DataFault Fault(Annotation annotation) => new(annotation.File, annotation.Line, Kind, Message);
}

/// <summary>How many bad items are too many.</summary>
internal static class BadShare
{
    private const double Most = 0.9;

    /// <summary>Whether (nearly) all are bad: nine of ten, or the only ones there are.</summary>
    public static bool IsTooMuch(int bad, int all) => bad > 0 && bad >= Most * all;
}

/// <summary>Turns what the media readers say about a file into the fault of an item.</summary>
internal static class MediaFaults
{
    /// <summary>Reads something of a file.</summary>
    /// <exception cref="BadItemException">The file is missing or cannot be read. A missing ffmpeg is no fault of the item.</exception>
    public static async Task<T> GuardAsync<T>(string path, Func<Task<T>> read)
    {
        if (!File.Exists(path))
            throw Missing(path);
        try
        {
            return await read().ConfigureAwait(false);
        }
        catch (MediaException e) when (e.InnerException is not Win32Exception)
        {
            throw new BadItemException(DataFaultKind.Damaged, e.Message, e);
        }
    }

    public static BadItemException Missing(string path) =>
        new(DataFaultKind.Missing, Directory.Exists(path) ? $"{path} is a folder, not a file" : $"{path} does not exist");
}
