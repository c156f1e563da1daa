using PyramidFlow.Generation;
using PyramidFlow.Torch;
using PyramidFlow.Torch.Distributed;

namespace PyramidFlow.Training.Loop;

/// <summary>The memory that one process of a training may take.</summary>
/// <param name="Total">Bytes of its share of the device or of the machine, within the limits of the process.</param>
/// <param name="Free">Bytes of it that are free now.</param>
/// <param name="Place">Where they are.</param>
internal sealed record TrainingRoom(long Total, long Free, string Place)
{
    /// <summary>The memory of a device; null where it does not tell.</summary>
    /// <param name="device">The device.</param>
    /// <param name="processes">Processes that share the memory of the machine.</param>
    public static TrainingRoom? Of(Device device, int processes = 1)
    {
        if (device.Type == DeviceType.Cpu)
            return new TrainingRoom(MachineMemory.Total / processes, MachineMemory.Available() / processes, processes == 1 ? "this machine" : "a process of this machine");
        return TorchRuntime.HasCuda && DeviceMemory.Read(device) is { } memory ? new TrainingRoom(memory.Total, memory.Free + memory.Cached + memory.InUse, device.ToString()) : null;
    }
}

/// <summary>A change of a configuration that takes less memory.</summary>
/// <typeparam name="T">The configuration.</typeparam>
/// <param name="Name">Its key.</param>
/// <param name="Advice">What to do.</param>
/// <param name="Config">The configuration with it; null where it has it already.</param>
/// <param name="Ranks">Processes with it; null are those of the run.</param>
internal sealed record MemoryChange<T>(string Name, string Advice, Func<T, T?> Config, int? Ranks = null)
    where T : LoopConfig;

/// <summary>Refuses trainings that do not fit into the memory, before weights are read.</summary>
internal static class MemoryCheck
{
    /// <summary>Changes that every training can have, in the order in which they are tried; others of a training are put before or between.</summary>
    /// <typeparam name="T">The configuration.</typeparam>
    /// <param name="onGpu">Whether the training is on a GPU.</param>
    public static IEnumerable<MemoryChange<T>> Common<T>(bool onGpu)
        where T : LoopConfig
    {
        yield return new MemoryChange<T>("precision", "set precision bfloat16", config => config.Precision == TrainingPrecision.Bfloat16 ? null : config with { Precision = TrainingPrecision.Bfloat16 });
        if (onGpu)
            yield return new MemoryChange<T>("average_device", "set average_device cpu", config => !config.IsAveraged || config.AverageDevice is not null ? null : config with { AverageDevice = "cpu" });
        yield return new MemoryChange<T>("moments", "set moments eight_bit", config => config.Moments == MomentForm.EightBit ? null : config with { Moments = MomentForm.EightBit });
        yield return new MemoryChange<T>("average_decay", "keep no average (average_decay 0)", config => config.IsAveraged ? config with { AverageDecay = 0, AverageHorizon = 0 } : null);
        foreach (var ranks in new[] { 2, 4, 8, 16 })
        {
            yield return new MemoryChange<T>("shard", FormattableString.Invariant($"set shard optimizer on {ranks} processes that each have as much memory"),
                config => config.Shard == SharedState.None ? config with { Shard = SharedState.Optimizer } : null, ranks);
        }
    }

    /// <summary>Refuses a training that does not fit.</summary>
    /// <param name="file">The configuration.</param>
    /// <param name="config">What it says.</param>
    /// <param name="plan">Plans a configuration on a number of processes.</param>
    /// <param name="ranks">Processes.</param>
    /// <param name="room">The memory; null refuses nothing.</param>
    /// <param name="changes">What would take less, in the order in which it is tried.</param>
    /// <returns>The plan.</returns>
    /// <exception cref="TrainingException">It does not fit; names what is needed, what is there, and what would fit.</exception>
    public static TrainingPlan Require<T>(string file, T config, Func<T, int, TrainingPlan> plan, int ranks, TrainingRoom? room, IEnumerable<MemoryChange<T>> changes)
        where T : LoopConfig
    {
        var whole = plan(config, ranks);
        return Fault(file, config, plan, ranks, whole, room, changes) is { } fault ? throw fault : whole;
    }

    /// <summary>The error for a training that does not fit; null for one that does.</summary>
    /// <inheritdoc cref="Require"/>
    public static TrainingException? Fault<T>(string file, T config, Func<T, int, TrainingPlan> plan, int ranks, TrainingPlan whole, TrainingRoom? room, IEnumerable<MemoryChange<T>> changes)
        where T : LoopConfig
    {
        if (room is null || whole.CertainBytes <= room.Total)
            return null;
        var phase = whole.Phases.MaxBy(each => each.Certain())!;
        var (fitting, all) = (new List<(MemoryChange<T> Change, long Bytes)>(), changes.ToList());
        foreach (var change in all)
        {
            // Of several numbers of processes the smallest is enough.
            if (fitting.All(each => each.Change.Name != change.Name) && change.Config(config) is { } changed && plan(changed, change.Ranks ?? ranks) is var less && less.HeldBytes <= room.Total)
                fitting.Add((change, less.HeldBytes));
        }

        if (fitting.Count > 0)
            return TrainingFault.MachineTooSmall(file, phase.Name, phase.Held(), room.Place, room.Total, [.. fitting.Select(each => (each.Change.Name, each.Change.Advice, each.Bytes))], together: false);
        var (taken, least) = Pair(config, plan, ranks, room.Total, all) ?? Together(config, plan, ranks, whole.HeldBytes, room.Total, all);
        return TrainingFault.MachineTooSmall(file, phase.Name, phase.Held(), room.Place, room.Total,
            least <= room.Total ? [.. taken.Select(change => (change.Name, change.Advice, least))] : [], together: true);
    }

    // The first two changes that fit with each other: bfloat16 takes less where the states are shared, though not alone.
    private static (IReadOnlyList<MemoryChange<T>> Changes, long Bytes)? Pair<T>(T config, Func<T, int, TrainingPlan> plan, int ranks, long total, IReadOnlyList<MemoryChange<T>> all)
        where T : LoopConfig
    {
        foreach (var (i, first) in all.Index())
        {
            foreach (var second in all.Skip(i + 1).Where(each => each.Name != first.Name))
            {
                if (first.Config(config) is { } one && second.Config(one) is { } both && plan(both, Math.Max(first.Ranks ?? ranks, second.Ranks ?? ranks)).HeldBytes is var bytes && bytes <= total)
                    return ([first, second], bytes);
            }
        }

        return null;
    }

    // One change after another as long as each takes less than those before it. Several rounds, because bfloat16 takes less only where states are shared or small.
    private static (IReadOnlyList<MemoryChange<T>> Changes, long Bytes) Together<T>(T config, Func<T, int, TrainingPlan> plan, int ranks, long needed, long total, IReadOnlyList<MemoryChange<T>> all)
        where T : LoopConfig
    {
        var (taken, least, before) = (new List<MemoryChange<T>>(), needed, long.MaxValue);
        while (least > total && least < before)
        {
            before = least;
            foreach (var change in all.TakeWhile(_ => least > total))
            {
                // More processes take the place of fewer.
                var (count, isMore) = (change.Ranks ?? ranks, change.Ranks > ranks && taken.Exists(each => each.Name == change.Name));
                if ((change.Config(config) ?? (isMore ? config : null)) is not { } changed || plan(changed, count).HeldBytes is var less && less >= least)
                    continue;
                (config, ranks, least) = (changed, count, less);
                taken.RemoveAll(each => each.Name == change.Name);
                taken.Add(change);
            }
        }

        return (taken, least);
    }

    /// <summary>A sentence about a training that fits, but not into what is free now; null where it does.</summary>
    public static string? Warning(TrainingPlan plan, TrainingRoom? room) => room is null || plan.CertainBytes <= room.Free ? null : FormattableString.Invariant(
        $"the run needs {plan.HeldBytes / 1e9:0.0} GB and {room.Free / 1e9:0.0} GB of {room.Place} are free now: end other programs if it stops for lack of memory");

    /// <summary>Processes of a group on this machine.</summary>
    public static int Local(ProcessGroup? group) => group?.LocalSize ?? 1;
}

/// <summary>A plan as a user asks for it.</summary>
/// <param name="Plan">The plan.</param>
/// <param name="Config">The configuration.</param>
/// <param name="Items">Items of the data; null where it is not there, so that the largest sizes of the configuration count.</param>
/// <param name="Room">Memory of the device; null where this machine has no such device.</param>
/// <param name="Fault">The error that the training would end with; null where it fits, or where that is unknown.</param>
internal sealed record PlannedTraining(TrainingPlan Plan, LoopConfig Config, long? Items, TrainingRoom? Room, TrainingException? Fault)
{
    /// <summary>Whether the items are drawn from the seed, as those of the sprites world.</summary>
    public bool IsDrawn { get; init; }

    /// <summary>Plans a training and looks whether this machine has the memory for one process of it.</summary>
    public static PlannedTraining Of<T>(string file, T config, Func<T, int, TrainingPlan> plan, int ranks, Device device, IEnumerable<MemoryChange<T>> changes, long? items)
        where T : LoopConfig
    {
        var (whole, room) = (plan(config, ranks), TrainingRoom.Of(device));
        return new PlannedTraining(whole, config, items, room, MemoryCheck.Fault(file, config, plan, ranks, whole, room, changes));
    }
}
