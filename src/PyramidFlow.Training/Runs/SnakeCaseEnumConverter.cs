using System.Text.Json;
using System.Text.Json.Serialization;

namespace PyramidFlow.Training.Runs;

/// <summary>Reads an enumeration's value by its name in snake case, as configurations write it.</summary>
/// <typeparam name="T">The enumeration.</typeparam>
public sealed class SnakeCaseEnumConverter<T>() : JsonStringEnumConverter<T>(JsonNamingPolicy.SnakeCaseLower, allowIntegerValues: false)
    where T : struct, Enum;
