using PyramidFlow.Torch;

namespace PyramidFlow.Benchmarks;

/// <summary>What single operations reach on this machine, in the same process as the rows.</summary>
/// <param name="GemmFp32">Matrix products in float32, GFLOP/s.</param>
/// <param name="GemmBf16">Matrix products in bfloat16, GFLOP/s.</param>
/// <param name="ConvFp32">3x3x3 convolution in float32, GFLOP/s.</param>
/// <param name="ConvBf16">The same in bfloat16; measured only when the VAE runs in it.</param>
/// <param name="Copy">Memory read plus written by a copy, GB/s.</param>
public sealed record MachineRates(double GemmFp32, double GemmBf16, double ConvFp32, double? ConvBf16, double Copy)
{
    /// <summary>The rate of matrix products in this type, GFLOP/s.</summary>
    internal double Gemm(ElementType type) => type == ElementType.BFloat16 ? GemmBf16 : GemmFp32;

    /// <summary>The rate of convolutions in this type, GFLOP/s.</summary>
    internal double Conv(ElementType type) => type == ElementType.BFloat16 ? ConvBf16!.Value : ConvFp32;
}
