using System.Text.Json.Serialization;

namespace PyramidFlow.Scheduling;

/// <summary>How the flow of a stage is followed; every one looks at the model once a step.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<FlowSolver>))]
public enum FlowSolver
{
    /// <summary>Euler steps, as the released system takes them.</summary>
    [JsonStringEnumMemberName(FlowSolverNames.Euler)]
    Euler,

    /// <summary>
    /// Explicit midpoint rule over even steps (Hairer, Norsett, Wanner, "Solving Ordinary Differential Equations I", II.1): two steps
    /// go together, of which the first looks at the middle. The error of a stage falls with the square of its number of steps.
    /// </summary>
    [JsonStringEnumMemberName(FlowSolverNames.SecondOrder)]
    SecondOrder,
}
