using PyramidFlow.Server.Domain;

namespace PyramidFlow.Server.Storage;

/// <summary>A job to put into the queue.</summary>
/// <param name="Id">Its id.</param>
/// <param name="Owner">Who asks.</param>
/// <param name="Request">What for, every value filled in.</param>
internal sealed record NewJob(string Id, Owner Owner, VideoRequest Request)
{
    /// <summary>The owner's word for this very request; null is none.</summary>
    public string? IdempotencyKey { get; init; }

    /// <summary>Hash of what was asked for, to tell a repetition from another use of the key.</summary>
    public string? Fingerprint { get; init; }

    /// <summary>Most jobs of the owner that may wait or run.</summary>
    public int MaxActive { get; init; } = int.MaxValue;
}
