using PyramidFlow.Torch;

namespace PyramidFlow.Cli.Models;

/// <summary>Element types as users write them.</summary>
internal static class NumberTypes
{
    /// <summary>The type of <c>fp32</c>, <c>bf16</c> or <c>fp16</c>; null, the checkpoint's or the device's own, for any other name.</summary>
    public static ElementType? Parse(string? name) => name switch
    {
        "fp32" => ElementType.Float32,
        "bf16" => ElementType.BFloat16,
        "fp16" => ElementType.Float16,
        _ => null,
    };
}
