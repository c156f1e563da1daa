using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Hosting;

/// <summary>Which model a host loads and how; the section <c>PyramidFlow</c> of its configuration.</summary>
public sealed class PyramidFlowOptions
{
    /// <summary>Name of the section.</summary>
    public const string Section = "PyramidFlow";

    private Func<PipelineOptions, PipelineOptions>? change;

    /// <summary>Folder of a checkpoint, or the name of an installed model.</summary>
    public string Model { get; set; } = "sprites";

    /// <summary>Transformer of the checkpoint, such as <c>384p</c>; null takes its first.</summary>
    public string? Variant { get; set; }

    /// <summary>Where to compute, such as <c>cpu</c>, <c>cuda</c> or <c>cuda:1</c>; null is the CPU.</summary>
    public string? Device { get; set; }

    /// <summary>Element type to compute in; null leaves it to the pipeline.</summary>
    public ElementType? Type { get; set; }

    /// <summary>Threads of an operator; null takes all cores.</summary>
    public int? Threads { get; set; }

    /// <summary>When weights are in memory.</summary>
    public Offload Offload { get; set; } = Offload.Auto;

    /// <summary>Most MiB that the program may take; null takes what the machine has.</summary>
    public int? MaxMemoryMib { get; set; }

    /// <summary>Folder for encoded prompts; null keeps none.</summary>
    public string? TextCache { get; set; }

    /// <summary>Whether the model is loaded when the host starts, beside what else starts; else by the first request.</summary>
    public bool LoadAtStart { get; set; } = true;

    /// <summary>Changes the options of the pipeline last, for what is not listed here, such as LoRAs.</summary>
    /// <param name="pipeline">Gives the changed options.</param>
    public void ConfigurePipeline(Func<PipelineOptions, PipelineOptions> pipeline)
    {
        var before = change;
        change = before is null ? pipeline : options => pipeline(before(options));
    }

    /// <summary>The options of the pipeline.</summary>
    /// <exception cref="FormatException">There is no such device.</exception>
    internal PipelineOptions ToPipelineOptions()
    {
        var options = new PipelineOptions
        {
            Variant = Variant,
            Device = Device is null ? null : Torch.Device.Parse(Device),
            Type = Type,
            Threads = Threads,
            Offload = Offload,
            MaxMemory = MaxMemoryMib is { } mib ? (long)mib << 20 : null,
            TextCache = TextCache,
        };
        return change?.Invoke(options) ?? options;
    }
}
