using PyramidFlow.Torch;

namespace PyramidFlow.Models.Vae;

/// <summary>What a layer must know about the frames it is given.</summary>
/// <param name="IsStart">Whether they begin the video: temporal upsampling makes one frame of the first, two of every other.</param>
/// <param name="Cache">The frames before them; null when the call holds the whole video.</param>
/// <param name="ConvolutionType">Element type convolutions are computed in; null is the input's.</param>
/// <param name="Recomputes">Whether residual blocks keep only their input for backward (<see cref="GradientCheckpointing"/>).</param>
public readonly record struct CausalPass(bool IsStart, CausalCache? Cache = null, ElementType? ConvolutionType = null, bool Recomputes = false)
{
    /// <summary>Whether no frames come after them: then nothing of them is remembered.</summary>
    public bool IsEnd { get; init; }

    /// <summary>Whether a single first frame meets the zeros before it too; see <see cref="CausalVideoVae.ComputesZeroTaps"/>.</summary>
    internal bool ComputesZeroTaps { get; init; }

    /// <summary>A whole video in one call.</summary>
    public static CausalPass Whole => new(IsStart: true);
}
