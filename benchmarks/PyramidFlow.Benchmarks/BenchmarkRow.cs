using PyramidFlow.Transformers;
using PyramidFlow.Vae;

namespace PyramidFlow.Benchmarks;

/// <summary>One measurement.</summary>
/// <param name="Name">What ran, and at which size.</param>
/// <param name="Stage">Stage of the spatial pyramid, 0 the lowest; null for the VAE.</param>
/// <param name="Unit">Unit of the video, from 0; null for the VAE.</param>
/// <param name="Dtype">fp32 or bf16.</param>
/// <param name="Seconds">Median wall-clock time.</param>
/// <param name="Flops">Operations of the matrix products and convolutions; see <see cref="DitFlops"/> and <see cref="VaeFlops"/>.</param>
/// <param name="Share">Speed over that of single operations in the same process: matrix products for the transformer,
/// convolution for the VAE.</param>
/// <param name="PeakMb">Most memory tensors have held from the start until then, weights included, MB.</param>
public sealed record BenchmarkRow(string Name, int? Stage, int? Unit, string Dtype, double Seconds, double Flops, double Share, double PeakMb);
