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
