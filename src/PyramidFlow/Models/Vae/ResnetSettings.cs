namespace PyramidFlow.Models.Vae;

/// <summary>What all residual blocks of a network share.</summary>
/// <param name="Groups">Groups of the norms; divides every width.</param>
/// <param name="Eps">Added to the variance.</param>
/// <param name="Activation">silu (also called swish), relu, gelu or mish.</param>
public sealed record ResnetSettings(long Groups, double Eps = 1e-6, string Activation = "silu");
