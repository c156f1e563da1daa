using System.Text.Json.Serialization;

namespace PyramidFlow.Server.Http;

/// <summary>Why a request was refused: problem details of RFC 9457, with the same once more where OpenAI's clients look.</summary>
/// <param name="Title">The kind of fault in a few words.</param>
/// <param name="Status">The HTTP status.</param>
/// <param name="Detail">One sentence for people, with the fix.</param>
/// <param name="Error">What OpenAI's clients read.</param>
internal sealed record ProblemObject(string Title, int Status, string Detail, ProblemObject.ErrorObject Error)
{
    public const string ContentType = "application/problem+json";

    public string Type { get; } = "about:blank";

    [JsonIgnore]
    public int? RetryAfterSeconds { get; init; }

    public static ProblemObject Of(int status, string detail, string code, string? parameter = null) => new(
        Microsoft.AspNetCore.WebUtilities.ReasonPhrases.GetReasonPhrase(status), status, detail,
        new ErrorObject(detail, status < 500 ? "invalid_request_error" : "server_error", code, parameter));

    internal sealed record ErrorObject(string Message, string Type, string Code, string? Param);
}
