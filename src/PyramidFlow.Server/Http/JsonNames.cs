using System.Text.Json;
using PyramidFlow.Generation;

namespace PyramidFlow.Server.Http;

/// <summary>Words of REST.</summary>
internal static class JsonNames
{
    public static string Of(GenerationPhase phase) => JsonNamingPolicy.SnakeCaseLower.ConvertName(phase.ToString());
}
