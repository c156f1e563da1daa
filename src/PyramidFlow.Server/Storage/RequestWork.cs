using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>How much work a request is, in arbitrary units: to guess how long it takes from how long others took.</summary>
internal static class RequestWork
{
    public static double Of(VideoRequest request)
    {
        var units = Math.Ceiling((request.Frames ?? 1) / 8.0);
        var steps = (request.Steps?.Sum() ?? 1) + ((units - 1) * (request.VideoSteps?.Sum() ?? 1));
        return steps * (request.Width ?? 1) * (request.Height ?? 1);
    }
}
