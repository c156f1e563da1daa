using PyramidFlow.Memory;
using PyramidFlow.Torch;

namespace PyramidFlow.Generation;

/// <summary>How runs of a pipeline use memory: as they were asked to, within what the machine has.</summary>
/// <param name="model">The checkpoint; null for models that are held by somebody else, about which there is nothing to decide.</param>
/// <param name="options">What was asked for.</param>
internal sealed class RunPlacement(PlannedModel? model, PipelineOptions options)
{
    private Device Device => options.Device ?? Device.Cpu;

    /// <summary>Options for a clip.</summary>
    /// <returns>Those asked for, with a way to offload that is not <see cref="Offload.Auto"/>, and with all that a budget needs.</returns>
    /// <exception cref="ArgumentException">The clip does not fit the budget, or the machine; says what would.</exception>
    internal PipelineOptions Of(GenerationSettings settings)
    {
        if (model is null)
            return options with { Offload = Offload.None };
        if (options.MaxMemory is { } budget)
            return MemoryBudget.Fit(model, settings, Type, options, budget);
        if (Device.Type == DeviceType.Cpu)
            return MemoryBudget.Place(model, settings, Type, options, MachineMemory.Available(), MachineMemory.Total);
        // Where a GPU's memory is not known: that T5 makes room for the others costs it little.
        if (DeviceMemory.Read(Device) is not { } memory)
            return options with { Offload = options.Offload == Offload.Auto ? Offload.Model : options.Offload };
        var ours = memory.Free + memory.Cached + memory.InUse;
        var placed = MemoryBudget.Place(model, settings, Type, options, ours, memory.Total);
        var roomy = placed with { Sampler = placed.Sampler.RoomyOn(Device) };
        return RunMemory.Of(model, settings, Type, roomy).Peak <= ours ? roomy : placed;
    }

    /// <summary>Options for several clips of one run: those of the clip that takes most.</summary>
    internal PipelineOptions Of(IReadOnlyList<GenerationSettings> clips) =>
        Of(clips.MaxBy(clip => (double)clip.Width * clip.Height * clip.Sampling.Frames)!);

    private ElementType Type => options.TypeOn(Device);
}
