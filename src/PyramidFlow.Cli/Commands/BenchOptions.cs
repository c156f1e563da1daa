using System.CommandLine;
using PyramidFlow.Benchmarks;
using PyramidFlow.Cli.Models;
using PyramidFlow.Cli.Output;
using PyramidFlow.Cli.Parsing;
using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Commands;

/// <summary>Options that all benchmarks have.</summary>
/// <param name="runs">What the median is of, for the help.</param>
internal sealed class BenchOptions(string runs)
{
    private readonly Option<string?> type = CliOptions.Choice("--dtype", "element type to compute in, or both one after the other [default: fp32]", "fp32", "bf16", "both");
    private readonly Option<int?> runs = CliOptions.Whole("--runs", "N", $"{runs} [default: 1]", 1);
    private readonly Option<string?> device = CliOptions.Text("--device", "NAME", "cpu, cuda or cuda:N [default: cpu]");
    private readonly Option<int?> threads = CliOptions.Whole("--threads", "N", "CPU threads [default: all]", 1);
    private readonly Option<bool> json = CliOptions.Flag("--json", "print JSON instead of a table");
    private readonly Option<bool> markdown = CliOptions.Flag("--markdown", "print the table in Markdown");

    internal void AddTo(Command command)
    {
        foreach (var option in (Option[])[type, device, runs, threads, json, markdown])
            command.Add(option);
    }

    /// <summary>Options of the measurement, with what the user said of these.</summary>
    internal BenchmarkOptions Read(ParseResult parsed, BenchmarkOptions options)
    {
        if (parsed.GetValue(json) && parsed.GetValue(markdown))
            throw new UsageException("--json and --markdown are two ways to print the same: use one");
        if (parsed.GetValue(threads) is { } count)
            TorchRuntime.Threads = count;
        var device = parsed.GetValue(this.device) is { } name ? ModelArguments.ParseDevice(name) : options.Device;
        return options with
        {
            Rates = device.Type == DeviceType.Cuda ? RateSizes.ReleasedOnGpu : options.Rates,
            Types = parsed.GetValue(type) switch
            {
                "bf16" => [ElementType.BFloat16],
                "both" => [ElementType.Float32, ElementType.BFloat16],
                _ => options.Types,
            },
            Runs = parsed.GetValue(runs) ?? options.Runs,
            Device = device,
        };
    }

    internal void Print(BenchmarkReport report, ParseResult parsed, CliConsole console) =>
        BenchReport.Print(report, parsed.GetValue(json), parsed.GetValue(markdown), console);
}
