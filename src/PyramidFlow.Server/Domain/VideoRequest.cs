using PyramidFlow.Generation;
using PyramidFlow.Scheduling.Solvers;

namespace PyramidFlow.Server.Domain;

/// <summary>
/// What a user asks for. What is left null takes the model's own default; once accepted, everything is filled in
/// (<see cref="VideoJob.Request"/>).
/// </summary>
public sealed record VideoRequest
{
    /// <summary>What is to be seen; may be empty only with an <see cref="Input"/>.</summary>
    public string Prompt { get; init; } = "";

    /// <summary>Prompts that take over later, in order.</summary>
    public IReadOnlyList<PromptChange> Schedule { get; init; } = [];

    /// <summary>What guidance steers away from.</summary>
    public string? NegativePrompt { get; init; }

    /// <summary>Text put after every prompt.</summary>
    public string? PromptSuffix { get; init; }

    /// <summary>A <see cref="VideoModel.Id"/>.</summary>
    public string? Model { get; init; }

    /// <summary>Pixels, a multiple of <see cref="VideoModel.SizeMultiple"/>.</summary>
    public int? Width { get; init; }

    /// <summary>Pixels, likewise.</summary>
    public int? Height { get; init; }

    /// <summary>Frames, 1 + a multiple of 8; after a given video the new ones, a multiple of 8.</summary>
    public int? Frames { get; init; }

    /// <summary>The same as time, in place of <see cref="Frames"/>; the nearest possible length is taken.</summary>
    public double? Seconds { get; init; }

    /// <summary>Frames per second that the file is played with; the model's own unless given. 1 to 240.</summary>
    public double? FramesPerSecond { get; init; }

    /// <summary>Steps in each stage for the first unit, lowest resolution first.</summary>
    public IReadOnlyList<int>? Steps { get; init; }

    /// <summary>The same for the later units.</summary>
    public IReadOnlyList<int>? VideoSteps { get; init; }

    /// <summary>Guidance scale of the first unit; 0 is off.</summary>
    public double? Guidance { get; init; }

    /// <summary>Guidance scale of the later units; 0 is off.</summary>
    public double? VideoGuidance { get; init; }

    /// <summary>For how many neighbouring steps text and history are computed once; null and 1 are exact (<see cref="Approximations"/>).</summary>
    public int? ReusePrefix { get; init; }

    /// <summary>Guidance is computed in every step of this number; null and 1 are exact.</summary>
    public int? GuidanceEvery { get; init; }

    /// <summary>The solver that integrates the flow; null is <see cref="FlowSolvers.Euler"/>.</summary>
    public IFlowSolver? Solver { get; init; }

    /// <summary>Seed of all draws; one is drawn when it is null. The same request with the same seed gives the same video.</summary>
    public ulong? Seed { get; init; }

    /// <summary>A picture or video to begin with.</summary>
    public VideoInput? Input { get; init; }

    /// <summary>The video this one was remixed from.</summary>
    public string? RemixedFrom { get; init; }
}
