using PyramidFlow.Models;
using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Generating;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Hub;
using PyramidFlow.Generation;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Planning;

/// <summary>Plans one video and prints what it takes.</summary>
internal static class PlanRun
{
    /// <param name="clip">What to make.</param>
    /// <param name="arguments">The model, a folder or the name of a released one, and how it runs.</param>
    /// <param name="speed">10^9 operations a second; null measures them.</param>
    /// <param name="json">Whether for a script.</param>
    /// <param name="console">Where to.</param>
    /// <param name="cancel">Stops before the measurement.</param>
    /// <exception cref="UsageException">The model cannot make it, or it does not fit the budget.</exception>
    public static void Run(ClipArguments clip, ModelArguments arguments, double? speed, bool json, CliConsole console, CancellationToken cancel)
    {
        var model = Model(arguments);
        var asked = arguments.Options();
        var options = asked;
        var device = asked.Device ?? Device.Cpu;
        var type = NumberTypes.Parse(arguments.UsedType) ?? ElementType.Float32;
        var request = GenerationPlan.Of(clip with { Seed = 0 }, "plan.mp4", model.Settings).Request;
        if (clip is { Frames: null, Seconds: null })
            request = request with { Frames = model.Settings.Frames };
        var settings = request.Resolve(model.Settings);
        if (asked.MaxMemory is { } budget)
            options = Within(model, settings, type, asked, budget);
        cancel.ThrowIfCancellationRequested();
        var rates = speed is { } given ? new MachineSpeed(given * 1e9, given * 1e9) : Measured(type, asked.Device, console);
        var plan = RunPlan.Of(model, settings, type, options, rates);
        var report = new PlanReport(arguments.Name ?? ModelCatalog.Default, model, settings, type, device, asked, options, rates, plan);
        if (json)
            console.Result(PlanJson.Of(report));
        else
            report.Print(console);
    }

    private static PlannedModel Model(ModelArguments arguments)
    {
        var name = arguments.Name ?? ModelCatalog.Default;
        var isHere = CheckpointFolder.IsCheckpoint(name) || ModelCatalog.FindInstalled(name) is not null;
        if (isHere || ModelCatalog.FindReleased(name) is not { } released)
            return PlannedModel.Of(arguments.Open(), arguments.Variant);
        var variant = arguments.Variant ?? released.Variants[0];
        return released.Variants.Contains(variant)
            ? PlannedModel.Released(released.Family, variant)
            : throw new UsageException($"{name} has no variant '{variant}': use {string.Join(", ", released.Variants)}");
    }

    private static PipelineOptions Within(PlannedModel model, GenerationSettings settings, ElementType type, PipelineOptions options, long budget)
    {
        try
        {
            return MemoryBudget.Fit(model, settings, type, options, budget);
        }
        catch (ArgumentException e) when (UserFault.Is(e))
        {
            throw new UsageException(Faults.Sentence(e), e);
        }
    }

    private static MachineSpeed Measured(ElementType type, Device? device, CliConsole console)
    {
        console.Note("measuring the speed of this machine");
        var (products, convolutions) = SpeedProbe.Measure(type == ElementType.Float16 ? ElementType.BFloat16 : type, device);
        return new MachineSpeed(products, convolutions);
    }
}
