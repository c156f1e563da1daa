namespace PyramidFlow.Cli.Generating;

/// <summary>A clip that was made.</summary>
internal sealed record MadeClip(string File, ulong Seed, int Frames, int Width, int Height)
{
    /// <summary>Such as <c>seed 7, 17 frames of 64x64</c>.</summary>
    public override string ToString() => $"seed {Seed}, {Frames} {(Frames == 1 ? "frame" : "frames")} of {Width}x{Height}";
}
