using System.Globalization;
using System.Net;

namespace PyramidFlow.Hub.Downloads;

/// <summary>What a status that is not success means for the user.</summary>
internal static class HubAnswers
{
    /// <summary>The exception for an answer: transient where another try can help.</summary>
    internal static Exception Fault(HttpResponseMessage response, HubEndpoint hub, HubSource source, string what, DateTimeOffset now)
    {
        var code = (int)response.StatusCode;
        var host = response.RequestMessage?.RequestUri?.Host ?? hub.Address.Host;
        if (code is 408 or 425 or 429 or >= 500)
        {
            var state = code == 429 ? "is asked too often" : "is out of order";
            return new TransientException(string.Create(CultureInfo.InvariantCulture, $"{host} {state} ({code})"), RetryAfter(response, now));
        }

        var page = new Uri(hub.Address, source.Repository);
        var isHub = response.RequestMessage?.RequestUri is { } address && hub.Owns(address);
        return new HubException(response.StatusCode switch
        {
            HttpStatusCode.Unauthorized when isHub && hub.Token is null =>
                $"{host} gives {source.Repository} to known users only, or has no such repository (401): check the name, accept its licence at {page}, and set HF_TOKEN to an access token of yours",
            HttpStatusCode.Unauthorized when isHub =>
                $"{host} refuses your access token (401): make a new one and set HF_TOKEN to it",
            HttpStatusCode.Forbidden when isHub =>
                $"{host} does not let you read {source.Repository} (403): accept its licence at {page}, and set HF_TOKEN to a token that may read it",
            HttpStatusCode.NotFound when isHub =>
                $"{host} has no {what} of {source.Repository} at revision {source.Revision} (404): check the name at {page}",
            _ => string.Create(CultureInfo.InvariantCulture, $"{host} refuses {what} of {source.Repository} ({code}): try again later"),
        });
    }

    private static TimeSpan? RetryAfter(HttpResponseMessage response, DateTimeOffset now)
    {
        var asked = response.Headers.RetryAfter;
        var wait = asked?.Delta ?? (asked?.Date is { } date ? date - now : null);
        return wait is { } span ? (span > TimeSpan.Zero ? span : TimeSpan.Zero) : null;
    }
}
