using System.Globalization;
using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>Collects rows and says each as it comes.</summary>
internal sealed class RowWriter(Device device, Action<string> progress)
{
    internal List<BenchmarkRow> Rows { get; } = [];

    /// <summary>Element type of what is measured now.</summary>
    internal ElementType Type { get; set; }

    /// <summary>Adds a row.</summary>
    /// <param name="name">What ran.</param>
    /// <param name="seconds">Median time.</param>
    /// <param name="flops">Operations.</param>
    /// <param name="rate">GFLOP/s that single operations reach.</param>
    /// <param name="stage">Stage of the pyramid.</param>
    /// <param name="unit">Unit of the video.</param>
    /// <param name="kind">Line of the picture over time.</param>
    internal void Add(string name, double seconds, double flops, double rate, int? stage = null, int? unit = null, string? kind = null)
    {
        var row = new BenchmarkRow(name, stage, unit, Type == ElementType.BFloat16 ? "bf16" : "fp32", seconds, flops,
            flops / seconds / (rate * 1e9), TorchRuntime.PeakMemory(device) / 1e6, kind, rate);
        Rows.Add(row);
        var place = (stage is null ? "" : $", stage {stage}") + (unit is null ? "" : $", unit {unit}");
        progress(string.Create(CultureInfo.InvariantCulture, $"{name}{place}: {seconds:0.000} s, {row.Share:0%} of the rate"));
    }

    /// <summary>Ends a group of rows that were measured together: the next ones have a peak of their own.</summary>
    internal void EndGroup()
    {
        if (device.Type == DeviceType.Cpu)
            TorchRuntime.ResetPeak();
        else
            DeviceMemory.ResetPeak(device);
    }
}
