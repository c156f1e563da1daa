namespace PyramidFlow.Server;

/// <summary>What users may ask for; beyond it a request is refused with a sentence.</summary>
public sealed record ServerLimits
{
    /// <summary>Bytes of a picture.</summary>
    public long ImageBytes { get; init; } = 32 << 20;

    /// <summary>Bytes of a video.</summary>
    public long VideoBytes { get; init; } = 256L << 20;

    /// <summary>Pixels of a picture or of a frame of a video.</summary>
    public long Pixels { get; init; } = 40_000_000;

    /// <summary>Seconds of a video that is gone on from.</summary>
    public double VideoSeconds { get; init; } = 60;

    /// <summary>Seconds on the processor that decoding an upload may take.</summary>
    public double DecodeSeconds { get; init; } = 60;

    /// <summary>Uploads that are decoded at the same time, at least 1; others wait. Each may take 640 MiB.</summary>
    public int Decoders { get; init; } = 2;

    /// <summary>Connections there may be at a time.</summary>
    public int Connections { get; init; } = 2000;

    /// <summary>Connections from one address (from one network of 64 bits for version 6); behind a proxy all come from its address.</summary>
    public int ConnectionsPerAddress { get; init; } = 500;

    /// <summary>Seconds for which a connection without a request is kept.</summary>
    public double IdleSeconds { get; init; } = 20;

    /// <summary>Seconds in which the headers of a request must have come.</summary>
    public double HeaderSeconds { get; init; } = 15;

    /// <summary>Bytes a second that a body must bring on average, once <see cref="BodyGraceSeconds"/> are over.</summary>
    public double BodyBytesPerSecond { get; init; } = 1024;

    /// <summary>Seconds in which a body may be slower; more than 1.</summary>
    public double BodyGraceSeconds { get; init; } = 10;

    /// <summary>Characters of a prompt.</summary>
    public int PromptLength { get; init; } = 4000;

    /// <summary>Latent frames that one request may have made at once: memory and time of a step grow with them.</summary>
    public int FramesPerUnit { get; init; } = 4;

    /// <summary>Frames of a new video.</summary>
    public int Frames { get; init; } = 1441;

    /// <summary>Steps of a stage.</summary>
    public int Steps { get; init; } = 200;

    /// <summary>Videos of one owner that may wait or be made.</summary>
    public int ActiveJobs { get; init; } = 500;

    /// <summary>New videos that one owner may ask for in a minute.</summary>
    public int RequestsPerMinute { get; init; } = 600;
}
