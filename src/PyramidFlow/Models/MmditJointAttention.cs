using PyramidFlow.Torch;

namespace PyramidFlow.Models;

/// <summary>Joint attention with the names of <c>pyramid_mmdit</c> checkpoints.</summary>
internal sealed class MmditJointAttention(long dim, long heads, bool contextPreOnly) : JointAttention(dim, heads, Eps, contextPreOnly)
{
    private const double Eps = 1e-5;

    private readonly RmsNorm normAddQ = new(dim / heads, Eps);
    private readonly RmsNorm normAddK = new(dim / heads, Eps);

    private protected override RmsNorm TextQueryNorm => normAddQ;

    private protected override RmsNorm TextKeyNorm => normAddK;
}
