using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Joint attention with the names of <c>pyramid_flux</c> checkpoints.</summary>
internal sealed class FluxJointAttention(long dim, long heads) : JointAttention(dim, heads, Eps, contextPreOnly: false)
{
    private const double Eps = 1e-6;

    private readonly RmsNorm normAddedQ = new(dim / heads, Eps);
    private readonly RmsNorm normAddedK = new(dim / heads, Eps);

    private protected override RmsNorm TextQueryNorm => normAddedQ;

    private protected override RmsNorm TextKeyNorm => normAddedK;
}
