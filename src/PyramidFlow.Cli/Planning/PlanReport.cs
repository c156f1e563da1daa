using PyramidFlow.Cli.Output;
using PyramidFlow.Generation;
using PyramidFlow.Torch;
using Spectre.Console;

namespace PyramidFlow.Cli.Planning;

/// <summary>A plan with all that it is about.</summary>
internal sealed record PlanReport(string Name, PlannedModel Model, GenerationSettings Settings, ElementType Type, Device Device, PipelineOptions Asked, PipelineOptions Options,
    MachineSpeed Speed, RunPlan Plan)
{
    /// <summary>Prints tables, which count units and stages from 1, as progress does.</summary>
    public void Print(CliConsole console)
    {
        var variant = Model.Variant.Length == 0 ? "" : $" {Model.Variant}";
        console.Result(FormattableString.Invariant(
            $"{Name}{variant}: {Settings.Width}x{Settings.Height}, {Settings.Frames} frames ({Settings.Frames / Model.Settings.FramesPerSecond:0.0} s), {Type}, on {Device}"));
        console.Result(Work());
        console.Result(FormattableString.Invariant(
            $"all: {Plan.Flops / 1e12:N1} TFLOP, about {Durations.Text(TimeSpan.FromSeconds(Plan.Seconds))} at {MachineSpeed.ReachedShare:0%} of {Speed.Products / 1e9:N0} GFLOP/s in products and {Speed.Convolutions / 1e9:N0} in convolutions"));
        console.Result(Memory());
        if (Options.MaxMemory is not null)
        {
            console.Result(Chosen());
            if (MemoryBudget.Int8Conversion(Model, Settings, Type, Asked, Options.MaxMemory!.Value) is { } conversion)
                console.Result($"or {conversion}");
        }
    }

    private Table Work()
    {
        var table = Table("", "unit", "stage", "steps", "tokens", "TFLOP", "time");
        foreach (var work in Plan.Work)
        {
            table.AddRow(work.Phase switch { GenerationPhase.EncodingText => "text", GenerationPhase.Denoising => "denoise", _ => "decode" },
                Number(work.Unit + 1), Number(work.Stage + 1), work.Steps == 0 ? "" : Number(work.Steps), work.Tokens == 0 ? "" : FormattableString.Invariant($"{work.Tokens}"),
                FormattableString.Invariant($"{work.Flops / 1e12:N2}"), Durations.Text(TimeSpan.FromSeconds(work.Seconds)));
        }

        return table;
    }

    private Table Memory()
    {
        var table = Table("offload", "text", "transformer", "decoding", "most");
        foreach (var (offload, memory) in Plan.Memory)
        {
            table.AddRow(offload.ToString().ToLowerInvariant(), Bytes.Text(memory.Text), Bytes.Text(memory.Transformer), Bytes.Text(memory.Decoder),
                Bytes.Text(memory.Peak));
        }

        return table;
    }

    private string Chosen() => FormattableString.Invariant(
        $"within {Bytes.Text(Options.MaxMemory!.Value)}: --offload {Options.Offload.ToString().ToLowerInvariant()}, {Options.Sampler.Attention.QueryBlock} queries and {Bytes.Text(Options.Sampler.PrefixBytes)} of history at a time, {(Options.Tiles is { } tiles ? $"tiles of {tiles.Size}{(Options.TileByTile ? ", each through the whole clip" : "")}" : "whole frames")}, {Options.DecodeWindow} latent frames decoded at a time");

    private static string Number(int? value) => value is { } number ? FormattableString.Invariant($"{number}") : "";

    private static Table Table(string first, params string[] numbers)
    {
        var table = new Table { Border = TableBorder.Simple };
        table.AddColumn(first);
        foreach (var number in numbers)
            table.AddColumn(number, column => column.RightAligned());
        return table;
    }
}
