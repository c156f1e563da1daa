namespace PyramidFlow.Hub.Downloads;

/// <summary>How patiently a hub is asked.</summary>
public sealed record HubOptions
{
    /// <summary>Files fetched at the same time, 1 or more.</summary>
    public int Parallel { get; init; } = 4;

    /// <summary>Tries in a row that may bring nothing new before a file is given up, 1 or more.</summary>
    public int Attempts { get; init; } = 6;

    /// <summary>Wait after the first failed try; doubled after each further one, up to <see cref="LongestWait"/>.</summary>
    public TimeSpan FirstWait { get; init; } = TimeSpan.FromSeconds(1);

    /// <summary>Longest wait, also when the server asks for a longer one: then it is given up.</summary>
    public TimeSpan LongestWait { get; init; } = TimeSpan.FromMinutes(5);

    /// <summary>A connection that brings nothing for so long counts as dropped.</summary>
    public TimeSpan Stall { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Clock and timers.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Free bytes on the disk of a folder that exists.</summary>
    public Func<string, long> FreeBytes { get; init; } = folder => new DriveInfo(folder).AvailableFreeSpace;

    /// <summary>Told why it waits, in words.</summary>
    public Action<string>? Notify { get; init; }
}
