namespace PyramidFlow.Cli.Terminal;

/// <summary>Turns exceptions into messages for users.</summary>
internal static class Faults
{
    /// <summary>Prints one sentence (all of it when verbose) and gives the exit code.</summary>
    public static int Report(Exception e, CliConsole console, bool verbose, CancellationToken cancellationToken)
    {
        if (e is OperationCanceledException && cancellationToken.IsCancellationRequested)
        {
            console.Note("cancelled");
            return ExitCode.Cancelled;
        }

        console.Fail(Sentence(e));
        if (verbose)
            console.Note(e.ToString());
        return e is UsageException or RequestException ? ExitCode.WrongUsage : ExitCode.Failed;
    }

    /// <summary>The first line of an exception's message, without the runtime's additions.</summary>
    public static string Sentence(Exception e)
    {
        if (e is AggregateException { InnerException: { } inner })
            e = inner;
        if (e is DllNotFoundException)
            return $"libtorch cannot be loaded: {About.Name} doctor says how to install it";
        var message = e.Message.AsSpan();
        if (e is ArgumentException { ParamName: { } parameter })
            message = message.ToString().Replace($" (Parameter '{parameter}')", "", StringComparison.Ordinal);
        var end = message.IndexOfAny('\r', '\n');
        var line = (end < 0 ? message : message[..end]).Trim().ToString();
        return IsForUsers(e) ? line : $"unexpected {e.GetType().Name}: {line}; run it again with --verbose and report what it shows";
    }

    // Types of this program speak to users. Those of the runtime do so only where files are the cause; another one is a fault of the program.
    private static bool IsForUsers(Exception e) =>
        e is IOException or UnauthorizedAccessException || e.GetType().Namespace?.Split('.')[0] == nameof(PyramidFlow);
}

/// <summary>Exit codes of the process.</summary>
internal static class ExitCode
{
    /// <summary><see cref="LeftOut"/>: all was done except for items of the data that could not be used.</summary>
    public const int Ok = 0, Failed = 1, WrongUsage = 2, LeftOut = 3, Cancelled = 130;
}
