using PyramidFlow.Models;

namespace PyramidFlow.Benchmarks;

/// <summary>One measurement.</summary>
/// <param name="Name">What ran, and at which size.</param>
/// <param name="Stage">Stage of the spatial pyramid, 0 the lowest; null but for the transformer.</param>
/// <param name="Unit">Unit of the video, from 0; null but for the transformer.</param>
/// <param name="Dtype">fp32 or bf16.</param>
/// <param name="Seconds">Median wall-clock time.</param>
/// <param name="Flops">Operations of the matrix products and convolutions; see <see cref="DitFlops"/>, <see cref="TextFlops"/> and <see cref="VaeFlops"/>.</param>
/// <param name="Share">Speed over that of single operations in the same process: convolution for the VAE, matrix
/// products for all others.</param>
/// <param name="PeakMb">Most memory tensors held while it was measured, with the rows measured together with it, weights included, MB.</param>
/// <param name="Kind">Line of the picture over time that its share belongs to; null for parts of other rows and what is only compared with.</param>
/// <param name="Rate">GFLOP/s of single operations that the share is of: for the transformer those measured between its runs.</param>
public sealed record BenchmarkRow(string Name, int? Stage, int? Unit, string Dtype, double Seconds, double Flops, double Share, double PeakMb, string? Kind = null,
    double? Rate = null);
