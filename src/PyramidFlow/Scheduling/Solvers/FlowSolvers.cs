using System.Collections.Immutable;
using System.Text.Json;
using System.Text.Json.Serialization;
using PyramidFlow.Torch;

namespace PyramidFlow.Scheduling;

/// <summary>A method to integrate the flow of a stage. It holds no state: one instance serves any number of runs.</summary>
[JsonConverter(typeof(FlowSolverConverter))]
public interface IFlowSolver
{
    /// <summary>The name on a command line, in a request and in a file's notes.</summary>
    string Name { get; }

    /// <summary>How often the model is evaluated for a number of steps.</summary>
    /// <param name="steps">Steps of a stage, at least 1.</param>
    int Evaluations(int steps);

    /// <summary>The points at which the model is evaluated.</summary>
    /// <param name="stage">The stage.</param>
    /// <param name="steps">Steps of the stage, at least 1.</param>
    /// <returns>As many points as <see cref="Evaluations"/> says.</returns>
    FlowSteps Plan(FlowStage stage, int steps);

    /// <summary>Starts to integrate a stage.</summary>
    /// <param name="plan">From <see cref="Plan"/> of the same solver.</param>
    IFlowIntegrator Begin(FlowSteps plan);
}

/// <summary>The state of a solver within one stage; disposing it frees the tensors it keeps.</summary>
public interface IFlowIntegrator : IDisposable
{
    /// <summary>Moves the sample on after one evaluation of the model.</summary>
    /// <param name="sample">The sample at which the model was evaluated.</param>
    /// <param name="velocity">The model's prediction there.</param>
    /// <param name="evaluation">Number of the evaluation in the stage, from 0; evaluations come in order.</param>
    /// <returns>The sample for the next evaluation, or the stage's result after the last one, of the velocity's element type.</returns>
    Tensor Step(Tensor sample, Tensor velocity, int evaluation);
}

/// <summary>
/// All solvers by name. The file of a solver adds it in a part of this class of its own: no list elsewhere changes, and trimming keeps it, as it
/// would not keep what only reflection finds.
/// </summary>
public static partial class FlowSolvers
{
    // Without an initializer, which might run after those in the files of the solvers.
    private static ImmutableSortedDictionary<string, IFlowSolver>? known;

    /// <summary>The names, in alphabetical order.</summary>
    public static IReadOnlyList<string> Names => [.. known!.Keys];

    /// <summary>The solver of a name, or null.</summary>
    public static IFlowSolver? Find(string name) => known!.GetValueOrDefault(name);

    /// <summary>The solver of a name.</summary>
    /// <exception cref="ArgumentException">There is none; lists the names.</exception>
    public static IFlowSolver Get(string name) => Find(name) ?? throw new ArgumentException(Unknown(name));

    /// <summary>Adds a solver.</summary>
    /// <returns>The same solver.</returns>
    /// <exception cref="ArgumentException">Another one has its name.</exception>
    public static IFlowSolver Register(IFlowSolver solver)
    {
        ImmutableInterlocked.Update(ref known, all => (all ?? ImmutableSortedDictionary.Create<string, IFlowSolver>(StringComparer.Ordinal)).Add(solver.Name, solver));
        return solver;
    }

    /// <summary>The names as part of a sentence: a, b or c.</summary>
    public static string Choices => $"{string.Join(", ", Names.SkipLast(1))} or {Names[^1]}";

    internal static string Unknown(string? name) => $"there is no solver {name}: use {Choices}";
}

/// <summary>Reads and writes a solver as its name.</summary>
public sealed class FlowSolverConverter : JsonConverter<IFlowSolver>
{
    /// <inheritdoc/>
    public override IFlowSolver Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        var name = reader.TokenType == JsonTokenType.String ? reader.GetString()! : null;
        return name is not null && FlowSolvers.Find(name) is { } solver ? solver : throw new JsonException(FlowSolvers.Unknown(name));
    }

    /// <inheritdoc/>
    public override void Write(Utf8JsonWriter writer, IFlowSolver value, JsonSerializerOptions options) => writer.WriteStringValue(value.Name);
}
