using Microsoft.Extensions.Logging.Console;

namespace PyramidFlow.Server;

/// <summary>One line for each event, on standard error.</summary>
internal sealed class ServerLog
{
    private volatile bool hasStarted;

    /// <summary>Whether the server listens. A fault before that ends the start, and who starts it tells the reason in one sentence.</summary>
    public bool HasStarted
    {
        get => hasStarted;
        set => hasStarted = value;
    }

    public void Configure(ILoggingBuilder logging, Action<ILoggingBuilder>? instead)
    {
        logging.ClearProviders();
        logging.AddFilter("Microsoft.AspNetCore", LogLevel.Warning);
        logging.AddFilter("Microsoft.Hosting", LogLevel.Warning);
        logging.AddFilter("Microsoft.Extensions.Hosting.Internal.Host", LogLevel.None);
        logging.AddFilter("Microsoft.AspNetCore.Server.Kestrel", level => HasStarted ? level >= LogLevel.Warning : level is >= LogLevel.Warning and < LogLevel.Critical);
        // Its keys lie in the data folder, as readable as everything else there.
        logging.AddFilter("Microsoft.AspNetCore.DataProtection", LogLevel.Error);
        if (instead is not null)
        {
            instead(logging);
            return;
        }

        logging.AddSimpleConsole(console =>
        {
            console.SingleLine = true;
            console.TimestampFormat = "HH:mm:ss ";
            console.ColorBehavior = LoggerColorBehavior.Disabled;
        });
        logging.Services.Configure<ConsoleLoggerOptions>(console => console.LogToStandardErrorThreshold = LogLevel.Trace);
    }
}
