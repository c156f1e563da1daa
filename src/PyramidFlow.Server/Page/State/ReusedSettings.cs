using System.Globalization;
using PyramidFlow.Scheduling.Solvers;
using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Page.State;

/// <summary>Settings of an earlier video for which the form has no field; null is the model's own, or off.</summary>
/// <param name="PromptSuffix">Text put after every prompt.</param>
/// <param name="FramesPerSecond">How fast the file plays.</param>
/// <param name="ReusePrefix">For how many steps text and history are computed once.</param>
/// <param name="GuidanceEvery">In every how many steps guidance is computed.</param>
/// <param name="Solver">The solver that integrates the flow.</param>
internal sealed record ReusedSettings(string? PromptSuffix, double? FramesPerSecond, int? ReusePrefix, int? GuidanceEvery, IFlowSolver? Solver)
{
    /// <summary>All as the model has it.</summary>
    public static ReusedSettings None { get; } = new(null, null, null, null, null);

    /// <summary>Those of a video.</summary>
    /// <param name="request">What was asked for.</param>
    /// <param name="model">The model that is asked now.</param>
    public static ReusedSettings Of(VideoRequest request, VideoModel model) => new(
        request.PromptSuffix == model.Settings.PromptSuffix ? null : request.PromptSuffix, request.FramesPerSecond, request.ReusePrefix, request.GuidanceEvery, request.Solver);

    /// <summary>In words; empty where all is as the model has it.</summary>
    public string Words()
    {
        var words = new List<string>();
        if (PromptSuffix is not null)
            words.Add(PromptSuffix.Length == 0 ? "nothing put after the prompt" : $"“{PromptSuffix.Trim(' ', ',')}” put after the prompt");
        if (FramesPerSecond is { } fps)
            words.Add(string.Create(CultureInfo.InvariantCulture, $"{fps:0.##} frames per second"));
        if (ReusePrefix is > 1)
            words.Add(string.Create(CultureInfo.InvariantCulture, $"text and history reused for {ReusePrefix} steps"));
        if (GuidanceEvery is > 1)
            words.Add(string.Create(CultureInfo.InvariantCulture, $"guidance computed in one of {GuidanceEvery} steps"));
        if (Solver is not null && Solver != FlowSolvers.Euler)
            words.Add($"{Solver.Name} solver");
        return string.Join(", ", words);
    }
}
