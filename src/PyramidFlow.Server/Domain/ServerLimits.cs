namespace PyramidFlow.Server.Domain;

/// <summary>Limits on requests of users; a request beyond them is refused with a sentence.</summary>
public sealed record ServerLimits
{
    /// <summary>Maximum bytes of a picture.</summary>
    public long ImageBytes { get; init; } = 32 << 20;

    /// <summary>Maximum bytes of a video.</summary>
    public long VideoBytes { get; init; } = 256L << 20;

    /// <summary>Maximum pixels of a picture or of a video frame.</summary>
    public long Pixels { get; init; } = 40_000_000;

    /// <summary>Maximum seconds of a video to extend.</summary>
    public double VideoSeconds { get; init; } = 60;

    /// <summary>Maximum processor time in seconds for decoding an upload.</summary>
    public double DecodeSeconds { get; init; } = 60;

    /// <summary>Maximum number of uploads decoded in parallel, at least 1. Each may take 640 MiB.</summary>
    public int Decoders { get; init; } = 2;

    /// <summary>Maximum number of connections.</summary>
    public int Connections { get; init; } = 2000;

    /// <summary>Maximum number of connections from one address (from one /64 network with IPv6). Behind a proxy all come from its address.</summary>
    public int ConnectionsPerAddress { get; init; } = 500;

    /// <summary>Seconds after which a connection without a request is closed.</summary>
    public double IdleSeconds { get; init; } = 20;

    /// <summary>Maximum seconds until the headers of a request are complete.</summary>
    public double HeaderSeconds { get; init; } = 15;

    /// <summary>Minimum bytes per second of a body, on average, after <see cref="BodyGraceSeconds"/>.</summary>
    public double BodyBytesPerSecond { get; init; } = 1024;

    /// <summary>Seconds during which a body may be slower; more than 1.</summary>
    public double BodyGraceSeconds { get; init; } = 10;

    /// <summary>Maximum characters of a prompt.</summary>
    public int PromptLength { get; init; } = 4000;

    /// <summary>Maximum latent frames per unit; memory and time of a step grow with them.</summary>
    public int FramesPerUnit { get; init; } = 4;

    /// <summary>Maximum frames of a new video.</summary>
    public int Frames { get; init; } = 1441;

    /// <summary>Maximum steps of a stage.</summary>
    public int Steps { get; init; } = 200;

    /// <summary>Maximum number of LoRAs of a video.</summary>
    public int Loras { get; init; } = 8;

    /// <summary>Maximum number of active videos of one owner.</summary>
    public int ActiveJobs { get; init; } = 500;

    /// <summary>Maximum number of new videos of one owner within 24 hours, which begin with the first of them; deleted videos count too.</summary>
    public int VideosPerDay { get; init; } = int.MaxValue;

    /// <summary>Maximum number of new videos that one owner may request in a minute.</summary>
    public int RequestsPerMinute { get; init; } = 600;
}
