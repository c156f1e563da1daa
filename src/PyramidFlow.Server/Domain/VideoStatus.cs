namespace PyramidFlow.Server.Domain;

/// <summary>Where a video is on its way.</summary>
public enum VideoStatus
{
    /// <summary>Accepted; waits for a worker.</summary>
    Queued,

    /// <summary>A worker makes it.</summary>
    InProgress,

    /// <summary>Its file is there.</summary>
    Completed,

    /// <summary>It will not be made; <see cref="VideoJob.Error"/> says why.</summary>
    Failed,
}
