namespace PyramidFlow.Cli;

/// <summary>What the process ends with.</summary>
internal static class ExitCode
{
    public const int Ok = 0, Failed = 1, WrongUsage = 2, Cancelled = 130;
}
